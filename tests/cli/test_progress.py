"""Stages that are told as they begin, by the recipes and by the commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import gpuquant
from gpuquant.cli import app as cli
from gpuquant.cli import stages

STAGES = ["read", "count", "cluster", "map"]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a [red].png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(np.random.RandomState(0).randint(0, 256, (9, 8, 3)).astype(np.uint8)).save(path)
    return paths


def test_recipes_tell_their_stages(photos: list[Path]) -> None:
    seen: list[str] = []
    result = gpuquant.quantize(photos[0], 4, progress=seen.append)
    assert seen == STAGES == list(result.seconds)
    seen.clear()
    gpuquant.apply_palette(photos[0], "#000,#fff", progress=seen.append)
    assert seen == STAGES
    seen.clear()
    gpuquant.extract_palette(photos, 4, progress=seen.append)
    assert seen == ["read", "count", "read", "count", "cluster"]


def test_an_error_in_a_callback_is_the_callers(photos: list[Path]) -> None:
    def stop(stage: str) -> None:
        if stage == "cluster":
            raise KeyError(stage)

    with pytest.raises(KeyError, match="cluster"):
        gpuquant.quantize(photos[0], 4, progress=stop)


@pytest.mark.parametrize(
    ("arguments", "task", "stages"),
    [
        (
            ["quantize", "{0}", "-k", 4],
            "Quantizing a [red].png to 4 colors",
            ["reading", "counting colors", "finding the palette", "looking pixels up"],
        ),
        (
            ["apply", "#000,#fff", "{0}", "{0}.out.png"],
            "Applying 2 colors to a [red].png",
            ["reading", "counting colors", "finding the palette", "looking pixels up"],
        ),
        (
            ["palette", "{0}", "{1}"],
            "Finding the palette of 2 photos",
            [
                "reading 1 of 2",
                "counting colors 1 of 2",
                "reading 2 of 2",
                "counting colors 2 of 2",
                "finding the palette",
            ],
        ),
    ],
)
def test_commands_show_their_stages(
    arguments: list[Any], task: str, stages: list[str], photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Status:
        def update(self, text: str) -> None:
            shown.append(Console().render_str(text).plain)

    @contextmanager
    def status(_: Console, text: str) -> Iterator[Status]:
        Status().update(text)
        yield Status()

    monkeypatch.setattr(Console, "status", status)
    monkeypatch.setattr(sys, "argv", ["gpuquant", *(str(one).format(*photos) for one in arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert shown == [task, *(f"{task}: {stage}" for stage in stages)]


def test_what_takes_long_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown: list[str] = []
    clock = iter([0.0, 0.5, 10.0, 20.0])
    monkeypatch.setattr("gpuquant.cli.stages.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(Console, "is_terminal", True)
    open_memmap: Any = np.lib.format.open_memmap
    open_memmap(tmp_path / "photo.npy", "w+", np.uint8, (20_000, 20_000))  # of which nothing is written

    class Status:
        def update(self, text: str) -> None:
            shown.append(text)

    told = stages.Stages("Counting", Status(), 1, is_seen=True)  # type: ignore[arg-type]
    told.begin(tmp_path / "photo.npy", 10**9)
    told("count")
    told("count", 0.25)
    told("count", 1.0)
    assert shown == ["Counting: counting colors", "Counting: counting colors, 25% at 10 MP/s, 30 s left", shown[0]]

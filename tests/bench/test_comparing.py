"""Which quantizers a comparison begins, and what becomes of its results when it is stopped."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gpuquant.bench.measuring import Measurement, machine
from gpuquant.bench.peers import Quantizer
from gpuquant.bench.quantized import Pixels, Quantized

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def comparing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("comparing")


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("saving")


def row(name: str, seconds: float | None, n_pixels: int, problem: str = "") -> Measurement:
    return Measurement(name, "1", (seconds,) if seconds else (), n_pixels, 8, 1.0, None, problem=problem)


@pytest.mark.parametrize(
    ("name", "seconds", "n_pixels", "problem"),
    [
        ("a", 11.9, 10_000_000, ""),  # 120 s at most, going by ten times fewer pixels
        ("a", 12.1, 10_000_000, "not begun, as it took 12 s with 1.0 megapixels"),
        ("scikit-learn KMeans(n_init=1)", 12.1, 10_000_000, ""),
        ("a", 4.9, 50_000_000, ""),
        ("a", 5.1, 50_000_000, "not begun, as it took 5.1 s with 1.0 megapixels"),
        ("scikit-learn KMeans(n_init=1)", 5.1, 50_000_000, "not begun, as it took 5.1 s with 1.0 megapixels"),
        ("gpuquant, effort=best", 99.0, 50_000_000, ""),
    ],
)
def test_what_takes_too_long_is_not_begun(
    comparing: ModuleType, name: str, seconds: float, n_pixels: int, problem: str
) -> None:
    assert comparing.too_slow(row(name, seconds, 1_000_000), n_pixels, 60) == problem


def test_what_was_stopped_with_fewer_pixels_is_not_begun(comparing: ModuleType) -> None:
    found = comparing.too_slow(row("a", None, 1, "stopped after 60 s"), 2, 60)
    assert found == "not begun, as with fewer pixels: stopped after 60 s"
    assert comparing.too_slow(row("a", None, 1, found), 3, 60) == found
    assert comparing.too_slow(row("scikit-learn KMeans(n_init=1)", None, 1, "stopped after 60 s"), 2, 60) == ""


def black(photo: Pixels, n_colors: int) -> Quantized:
    return Quantized(np.zeros((1, 3)), np.zeros(photo.shape[:2], int))


def test_the_most_pixels_so_far_decide(comparing: ModuleType) -> None:
    pixels = np.zeros((10, 10, 3), np.uint8)
    earlier = [row("b", 500.0, 20), row("b", 0.1, 40), row("c", 0.1, 20), row("c", 500.0, 40), row("a", 500.0, 100)]
    every = [Quantizer(name, "numpy", black) for name in "abc"]
    found = comparing.compare(pixels, 2, every, {"rounds": 1, "most_seconds": 1, "limit": 60}, earlier)
    assert [bool(one.seconds) for one in found] == [True, True, False]
    assert found[2].problem == "not begun, as it took 5e+02 s with 0.0 megapixels"


def test_what_a_test_measured_takes_the_place_of_what_it_did_before(saving: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "quantize-cpu.json"

    def table(photo: str, seconds: float) -> dict[str, object]:
        return {"kind": "peers", "photo": photo, "measurements": [{"seconds": [seconds]}]}

    def ratio(what: str, measured: str, reach: str) -> dict[str, str]:
        return {"what": what, "measured": measured, "reach / aim": reach, "beside": measured}

    saving.save(path, "first", 1.26, [table("a", 1), table("b", 2)], [ratio("x", "1", "1 / 2"), ratio("y", "2", "")])
    saving.save(path, "second", 2, [table("a", 3)], [ratio("x", "4", "3 / 4")])
    found = json.loads(path.read_text())
    assert found["machine"] == machine()
    assert found["tables"] == [table("b", 2), table("a", 3)] == saving.stored_tables(path)
    assert found["ratios"] == [ratio("y", "2", ""), ratio("x", "4", "3 / 4")]
    assert saving.seconds_taken(tmp_path) == {"quantize: first": 1.3, "quantize: second": 2.0}
    assert saving.stored_tables(tmp_path / "missing.json") == []


def test_the_plan_says_what_will_run_and_how_long(saving: ModuleType) -> None:
    taken = {"a: x": 90.0, "a: y": 30.0, "b: z": 6.0}
    assert saving.plan(["a: x", "a: y", "b: z", "b: new"], taken, {"a: y"}) == [
        "   90 s  a: x",
        "   done  a: y",
        "    6 s  b: z",
        "    new  b: new",
        "  1.5 min  a",
        "  0.1 min  b",
        "  1.6 min in all, and 1 that never ran",
    ]

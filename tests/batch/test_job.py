"""quantize_files(): the results of quantize, whatever happens to other files."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import by_name, on_disk, run
from PIL import Image

import gpuquant
from gpuquant import quantize, quantize_files
from gpuquant.batch import file_work
from gpuquant.batch.crew import Threads
from gpuquant.errors import ArgumentError, DeviceError, ImageFileError
from gpuquant.memory import PROGRAM
from gpuquant.quantization import file_steps
from gpuquant.quantization import steps as image_steps


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_are_those_of_quantize(folder: Path, tmp_path: Path, jobs: int) -> None:
    output, n_threads = tmp_path / "out", torch.get_num_threads()
    job = quantize_files([folder], output, 6, recursive=True, jobs=jobs)
    outcomes = by_name(job)
    assert torch.get_num_threads() == n_threads
    assert len(job) == len(outcomes) == 10
    assert outcomes.pop("broken.jpg").error == "it is not an image in a format that Pillow can read"
    planned = [(on_disk(file.source), on_disk(file.target)) for file in job.files]
    for source, target in (pair for pair in planned if pair[0].name != "broken.jpg"):
        assert target == output / source.relative_to(folder).with_suffix(".png")
        alone, outcome = quantize(source, 6), outcomes[source.name]
        with Image.open(target) as image:
            np.testing.assert_array_equal(np.asarray(image), alone.labels)
        assert (outcome.status, outcome.error, outcome.target) == ("written", None, target)
        assert (outcome.height, outcome.width) == alone.labels.shape
        assert (outcome.mse, outcome.psnr, outcome.n_colors) == (alone.mse, alone.psnr, len(alone.palette))
        assert (outcome.bytes_in, outcome.bytes_out) == (source.stat().st_size, target.stat().st_size)
        assert set(outcome.seconds) == {"read", "count", "cluster", "map"}
    assert {path.name for path in output.rglob("*") if path.is_file()} == {
        Path(name).stem + ".png" for name in outcomes
    }


def test_existing_results(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    list(quantize_files(folder / "p0.png", output, 3))
    before = (output / "p0.png").read_bytes()
    with pytest.raises(ArgumentError, match=r"1 of 7 results exist already, such as .*p0\.png; .*--skip-existing"):
        quantize_files(folder, output, 5)
    assert sorted(path.name for path in output.iterdir()) == ["p0.png"]
    outcomes = by_name(quantize_files(folder, output, 3, existing="skip"))
    assert {name for name, outcome in outcomes.items() if outcome.status == "skipped"} == {"p0.png"}
    assert (output / "p0.png").read_bytes() == before
    outcomes = by_name(quantize_files(folder, output, 5, existing="overwrite"))
    assert outcomes["p0.png"].status == "written"
    with Image.open(output / "p0.png") as image:
        np.testing.assert_array_equal(np.asarray(image), quantize(folder / "p0.png", 5).labels)


def test_the_log_has_a_line_for_each_file(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "out" / "log.jsonl"
    list(quantize_files(folder / "p0.png", tmp_path / "out", log=log))  # in a folder that comes to be
    log.write_bytes(b'{"half a li')  # of a process that was killed
    seen = []
    for outcome in quantize_files(folder, tmp_path / "out", 300, log=log, jobs=2, existing="overwrite"):
        seen.append(outcome)
        assert len(log.read_text().splitlines()) == 1 + len(seen)
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert [line["source"] for line in lines] == [str(outcome.source) for outcome in seen]
    for line, outcome in zip(lines, seen, strict=True):
        assert line["status"] == outcome.status
        assert line["mse"] == outcome.mse
        assert line["seconds"] == outcome.seconds


def test_stopping_finishes_what_is_in_flight(folder: Path, tmp_path: Path) -> None:
    job = quantize_files(folder, tmp_path / "out", 3, jobs=1)
    outcomes = []
    for outcome in job:
        outcomes.append(outcome)
        job.stop()
    assert 1 <= len(outcomes) <= 3
    n_files = len(list((tmp_path / "out").iterdir()))
    assert n_files == sum(outcome.status == "written" for outcome in outcomes)


def test_an_abandoned_job_ends(folder: Path, tmp_path: Path) -> None:
    job = quantize_files(folder, tmp_path / "out", 3, jobs=1)
    next(job)
    threading.Event().wait(0.5)  # nobody asks for more than one: another waits to be told, and one to be put there
    job.close()
    n_files = len(list((tmp_path / "out").iterdir()))
    assert n_files <= 3
    assert list(job) == []
    threading.Event().wait(0.2)
    assert len(list((tmp_path / "out").iterdir())) == n_files


def test_defects_and_a_lack_of_memory_are_outcomes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = image_steps.fit_colors
    errors = [ZeroDivisionError("odd"), MemoryError(), RuntimeError("not enough memory: you tried\nto allocate")]

    def fail(*given: Any, **settings: Any) -> Any:
        if errors:
            raise errors.pop()
        return original(*given, **settings)

    monkeypatch.setattr(file_work, "fit_colors", fail)
    outcomes = list(quantize_files([folder / f"p{number}.png" for number in range(5)], tmp_path / "out", jobs=1))
    found = [outcome.error for outcome in outcomes]
    expected = "out of memory; use fewer jobs"
    assert found[:2] == [expected] * 2
    assert str(found[2]).startswith("ZeroDivisionError: odd (test_job.py, line ")
    assert found[3:] == [None] * 2


def test_nothing_is_written_outside(folder: Path, tmp_path: Path) -> None:
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    output.mkdir()
    elsewhere.mkdir()
    (output / "sub").symlink_to(elsewhere)
    outcomes = by_name(quantize_files(folder, output, 3, recursive=True))
    assert "outside" in str(outcomes["p7.png"].error)
    assert outcomes["p0.png"].status == "written"
    assert list(elsewhere.iterdir()) == []


def test_photos_are_never_overwritten(folder: Path, tmp_path: Path) -> None:
    before = (folder / "p0.png").read_bytes()
    for existing in ("overwrite", "skip", "refuse"):
        with pytest.raises(ArgumentError, match=r"p0\.png is one of the photos"):
            quantize_files([folder / "p0.png"], folder, 3, existing=existing)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ArgumentError, match="one of the photos"):
        quantize_files([folder / "p0.png"], tmp_path / "link", 3, existing="overwrite")
    assert (folder / "p0.png").read_bytes() == before


@pytest.mark.parametrize("log", ["photos/p0.png", "out/p1.png", "out/palette.hex", "link/p2.png"])
def test_the_log_is_no_photo_and_no_result(log: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    before = (folder / "p0.png").read_bytes()
    with pytest.raises(ArgumentError, match=r"one of the photos|also the place of a result"):
        quantize_files(folder, tmp_path / "out", log=tmp_path / log, shared_palette=True)
    assert (folder / "p0.png").read_bytes() == before
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_is_no_result(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "p0.png").mkdir(parents=True)
    outcomes = by_name(quantize_files(folder / "p0.png", tmp_path / "out", existing="skip"))
    assert outcomes["p0.png"].status == "failed"


def test_pixels_in_flight_are_bounded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, taken, most = threading.Lock(), 0, 0
    original = file_steps.open_file

    @contextmanager
    def opened(source: Path, budget: Any, *given: Any, **settings: Any) -> Iterator[Any]:
        nonlocal taken, most
        with lock:
            taken += budget.n_bytes - PROGRAM
            most = max(most, taken)
        threading.Event().wait(0.01)
        with original(source, budget, *given, **settings) as photo:
            yield photo
        with lock:
            taken -= budget.n_bytes - PROGRAM

    photos = [folder / f"p{number}.png" for number in range(5)]
    monkeypatch.setattr(file_work, "open_file", opened)
    monkeypatch.setattr(file_steps, "open_file", opened)
    for shared in (False, True):
        output = tmp_path / f"out{shared}"
        job = quantize_files(photos, output, 3, jobs=4, shared_palette=shared, memory=PROGRAM + (40 << 20))
        assert [outcome.error for outcome in job] == [None] * 5
    assert 0 < most <= 40 << 20


def test_devices_take_turns(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places, both = set[int](), threading.Event()
    original = file_work.FileWork._quantize

    def quantized(self: file_work.FileWork, file: Any, opened: Any, place: int, *given: Any) -> Any:
        places.add(place)
        if len(places) == 2:
            both.set()
        assert both.wait(60)  # for a photo on the other device
        return original(self, file, opened, place, *given)

    monkeypatch.setattr(file_work.FileWork, "_quantize", quantized)
    outcomes = list(quantize_files(folder, tmp_path / "out", 3, jobs=4, device="cpu, cpu"))
    assert places == {0, 1}
    assert len(outcomes) == 7


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"n_colors": 0}, ArgumentError, "n_colors=0"),
        ({"jobs": 0}, ArgumentError, "jobs=0"),
        ({"existing": "keep"}, ArgumentError, "existing='keep'"),
        ({"image_format": "jpg"}, ArgumentError, "jpg"),
        ({"image_format": "gif", "n_colors": 300}, ArgumentError, "256"),
        ({"device": "cuda:0,cuda:77"}, DeviceError, "cuda"),
        ({"background": "none"}, ArgumentError, "background"),
        ({"compression": 11}, ArgumentError, "compression"),
        ({"log": "/nowhere/log"}, ImageFileError, "/nowhere/log cannot be written"),
        ({"palette": gpuquant.Palette(np.zeros((2, 3), np.uint8)), "shared_palette": True}, ArgumentError, "exclude"),
        ({"palette": 3}, ArgumentError, "got int"),
        ({"suffix": ""}, ArgumentError, "suffix='' cannot end the name of a file; use one such as '-16-colors'"),
        ({"suffix": ".."}, ArgumentError, "suffix"),
        ({"suffix": "/../x"}, ArgumentError, "suffix"),
        ({"suffix": "a\\b"}, ArgumentError, "suffix"),
        ({"suffix": "a\0b"}, ArgumentError, "suffix"),
        ({"suffix": 16}, ArgumentError, "suffix=16"),
        ({"keep_profile": True, "shared_palette": True}, ArgumentError, "keep_profile"),
        ({"log": 3}, ArgumentError, "log must be paths, got 3"),
    ],
)
def test_what_cannot_be_used(settings: dict[str, Any], kind: type[Exception], words: str, folder: Path) -> None:
    with pytest.raises(kind, match=words):
        list(quantize_files(folder, folder.parent / "out", **settings))
    assert not (folder.parent / "out").exists()


@pytest.mark.parametrize("paths", [None, [1, 2], b"x", ["a", None], "a\0b.png"])
def test_paths_that_are_none(paths: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="paths must be paths"):
        quantize_files(paths, tmp_path)


def test_names_that_are_too_long(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(folder / f"{'x' * 250}.png")
    Image.new("RGB", (3, 3)).save(folder / f"{'x' * 250}.tif")
    (tmp_path / "out").mkdir()
    for existing in ("refuse", "skip"):
        outcomes = list(quantize_files(folder, tmp_path / "out", 3, existing=existing))
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        assert len(failed) == 3
        assert sum("File name too long" in str(outcome.error) for outcome in failed) == 2


def test_a_folder_that_cannot_be_written_is_told_at_once(folder: Path) -> None:
    with pytest.raises(ImageFileError, match="/proc/nowhere cannot be written"):
        next(quantize_files(folder, "/proc/nowhere"))


def test_the_output_must_be_a_folder(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="not a folder"):
        quantize_files(folder, folder / "p0.png")


def test_photos_that_wait_for_a_device_go_together(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    waiting = threading.Barrier(3, timeout=30)
    original, counted = image_steps.fit_together, image_steps.count_image

    def fit_all(counted_photos: list[Any], search: Any) -> Any:
        groups.append(len(counted_photos))
        assert isinstance(job._crew, Threads)
        while len(groups) == 1 and len(job._crew.work._together[0]._waiting) < 3 - len(counted_photos):
            threading.Event().wait(0.001)
        return original(counted_photos, search)

    def counted_photo(*given: Any, **settings: Any) -> Any:
        found = counted(*given, **settings)
        waiting.wait()
        return found

    monkeypatch.setattr(file_work, "fit_together", fit_all)
    monkeypatch.setattr(file_work, "count_image", counted_photo)
    photos = [folder / f"p{number}.png" for number in range(3)]
    monkeypatch.setattr(file_work.FileWork, "_shares_launches", lambda *_: True)
    job = quantize_files(photos, tmp_path / "out", 6, jobs=3, device="cpu")
    outcomes = by_name(job)
    assert [outcomes[photo.name].error for photo in photos] == [None] * 3
    assert sum(groups) == 3
    assert len(groups) <= 2
    for photo in photos:
        assert outcomes[photo.name].mse == quantize(photo, 6).mse


def test_the_memory_of_a_gif_is_that_of_a_failed_file(tmp_path: Path) -> None:
    """It is not read."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "large.png")
    (outcome,) = quantize_files(tmp_path / "large.png", tmp_path / "out", 2, image_format="gif", memory="1MB")
    assert outcome.status == "failed"
    assert "large.gif: a GIF of 20000 x 20000 pixels takes 1.6 GB of memory while it is written" in str(outcome.error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_job(
    number: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that are begun fail; all others would, too, each after all its work."""
    replace, most = Path.replace, 2

    def replace_if_there_is_room(path: Path, target: Path) -> Path:
        if len(list((tmp_path / "out").glob("*.png"))) >= most:
            raise OSError(number, os.strerror(number))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_if_there_is_room)
    monkeypatch.chdir(tmp_path)
    given = ["batch", folder.name, "-o", "out", "-k", 2, "-j", 1, "--log", "log", "--skip-existing"]
    code, out, error = run(given, monkeypatch, capsys)
    first, *failed, last = error.splitlines()
    assert code == 1
    assert 1 <= len(failed) <= 3  # others may be begun before the failure is seen
    assert out.splitlines()[2].startswith(f"2 written, {1 + len(failed)} failed; ")
    assert first == "gpuquant: photos/broken.jpg: it is not an image in a format that Pillow can read"
    assert all(line.endswith(f".png cannot be written: {os.strerror(number)}") for line in failed)
    way_out = "make room there, and go on with --skip-existing"
    left = {1: "3 photos were", 2: "2 photos were", 3: "1 photo was"}[len(failed)]
    assert last == f"gpuquant: out has no room left, and {left} not begun; {way_out}"
    logged = [json.loads(line)["status"] for line in Path("log").read_text().splitlines()]
    assert logged.count("failed") == 1 + len(failed)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    outcomes = by_name(quantize_files(folder, "out", 2, existing="skip"))
    assert sorted(one.status for one in outcomes.values()) == ["failed", *["skipped"] * 2, *["written"] * 4]

"""A page about results that are there: what their files, a log and a record of them tell, and nothing else."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import photos_on
from conftest import Pixels
from PIL import Image

from gpuquant import ArgumentError, FileOutcome, quantize
from gpuquant.images import strips, vips
from gpuquant.locations import tree_of
from gpuquant.report import looking
from gpuquant.report.folder import FILES, ReportFolder
from gpuquant.report.recipe import report_folder, results_in
from gpuquant.report.record import PhotoRecord
from gpuquant.report.similarity import ssim

pytestmark = pytest.mark.usefixtures("no_place_is_told")


@pytest.fixture
def out(china: Pixels, tmp_path: Path) -> Path:
    """Two results in a folder, one of them in a folder of its own, and files that are none."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for name, n_colors, dither in (("a", 4, "bayer"), ("sub/b", 300, "none")):
        photo = tmp_path / "photos" / f"{Path(name).name}.png"
        Image.fromarray(china).save(photo)
        quantize(photo, n_colors, dither=dither).save(tmp_path / "out" / f"{name}.png")
    Image.fromarray(china).save(tmp_path / "out" / "photo.png")
    (tmp_path / "out" / "notes.txt").write_text("none")
    return tmp_path / "out"


def written(out: Path, name: str) -> str:
    """A line of a log about the result of that name."""
    source, target = out.parent / "photos" / f"{Path(name).name}.png", out / f"{name}.png"
    seconds = {"read": 0.5}
    size = target.stat().st_size
    outcome = FileOutcome(source, target, "written", mse=3.5, psnr=42.7, bytes_out=size, seconds=seconds)
    return outcome.as_json() + "\n"


def records(out: Path) -> dict[str, PhotoRecord]:
    files = ReportFolder(out)
    found = {path.name: files.kept(path) for path in results_in(tree_of(out, recursive=True, but=FILES))}
    return {name: record for name, record in found.items() if record is not None}


def test_what_files_tell(out: Path) -> None:
    assert report_folder(out) == (out / "report.html", 2, 0)
    found = records(out)
    assert set(found) == {"a.png", "b.png"}
    one, result = found["a.png"], quantize(out.parent / "photos" / "a.png", 4, dither="bayer")
    assert (one.name, one.source, one.target, one.before) == ("a.png", None, "a.png", None)
    assert (one.width, one.height, one.n_colors) == (214, 143, 4)
    assert (one.colors, one.shares) == (result.palette.hex, tuple(result.shares))
    assert one.bytes_out == (out / "a.png").stat().st_size
    assert (one.mse, one.psnr, one.ssim, one.bytes_in, one.seconds) == (None, None, None, None, {})
    assert one.settings == "4 colors, dither bayer"
    with Image.open(out / FILES / str(one.after)) as image:
        assert np.abs(np.asarray(image).astype(int) - result.to_array()).mean() < 25
    assert (found["b.png"].n_colors, len(found["b.png"].colors)) == (300, 24)
    assert results_in(tree_of(out, recursive=True, but=FILES)) == [
        out / "a.png",
        out / "sub" / "b.png",
    ]  # no thumbnail of ours


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"gpuquant": "1", "n_colors": 8, "shared_palette": True, "palette": "8 colors, sha256 1f"},
            "8 colors, shared palette",
        ),
        ({"target_psnr": 30.0, "palette": "8 colors, sha256 1f"}, "target psnr 30.0, palette 8 colors"),
        ({"palette": "1 color, sha256 1f", "dither": "bayer"}, "palette 1 color, dither bayer"),
        (
            {"n_colors": 8, "shared_palette": True, "palette": "7 colors, sha256 1f"},
            "8 colors, shared palette, palette 7 colors",
        ),
    ],
)
def test_settings_say_nothing_twice(options: dict[str, object], words: str) -> None:
    assert looking.settings_in_words(options) == words


def test_what_nobody_knows_is_told(out: Path) -> None:
    told = list[str]()
    report_folder(out, tell=told.append)
    way_out = "name the log of the batch with --log, or use gpuquant batch --report"
    assert told == [f"2 results of unknown error: {way_out}"]
    log = out.parent / "log"
    log.write_text(written(out, "a"))
    report_folder(out, log, tell=told.append)
    assert told[1:] == [f"1 result of unknown error: {log} tells nothing of them"]
    log.write_text(written(out, "a") + written(out, "sub/b"))
    report_folder(out, log, tell=told.append)
    assert len(told) == 2


def test_what_a_log_tells(out: Path, china: Pixels) -> None:
    report_folder(out)
    other = json.loads(written(out, "sub/b")) | {"bytes_out": 17}
    failed = FileOutcome(Path("c.jpg"), out / "c.png", "failed", error="no such file").as_json()
    elsewhere = FileOutcome(Path("d.jpg"), out.parent / "d.png", "failed", error="no such file").as_json()
    log = out.parent / "log"
    log.write_text(f"{written(out, 'a')}{json.dumps(other)}\n{failed}\n{elsewhere}\n")
    assert report_folder(out, log) == (out / "report.html", 3, 1)
    one, two = records(out)["a.png"], records(out)["b.png"]
    assert (one.mse, one.psnr, one.seconds) == (3.5, 42.7, {"read": 0.5})
    assert (one.source, one.bytes_in) == ("../photos/a.png", (out.parent / "photos" / "a.png").stat().st_size)
    assert one.before
    assert one.ssim == ssim(china, quantize(china, 4, dither="bayer").to_array())
    assert (two.mse, two.seconds) == (None, {})  # of another result under its name
    assert two.before
    page = (out / "report.html").read_bytes()
    assert report_folder(out, log) == (out / "report.html", 3, 1)
    assert (out / "report.html").read_bytes() == page


@pytest.mark.parametrize("text", ["one line", '{"a": 1}', "[1]\nnull", '{"status": "fine"}', "\x00\x01\x02"])
def test_what_is_no_log(out: Path, text: str) -> None:
    log, told = out.parent / "log", list[str]()
    log.write_text(text)
    with pytest.raises(ArgumentError, match=r"log is no log of gpuquant batch$"):
        report_folder(out, log)
    assert not (out / "report.html").exists()
    log.write_text(f"{text}\n{written(out, 'a')}{written(out, 'sub/b')}")
    assert report_folder(out, log, tell=told.append)[1:] == (2, 0)
    assert told == [f"{log}: {'2 lines were' if 'null' in text else '1 line was'} not understood"]


def test_what_is_damaged_is_a_failure(out: Path) -> None:
    data = (out / "a.png").read_bytes()
    (out / "a.png").write_bytes(data[: len(data) // 2])
    assert report_folder(out)[1:] == (2, 1)
    assert b"the result cannot be read: " in (out / "report.html").read_bytes()
    (out.parent / "photos" / "b.png").write_bytes(b"none")
    (out.parent / "log").write_text(written(out, "sub/b"))
    assert report_folder(out, out.parent / "log")[1:] == (2, 1)
    assert records(out)["b.png"].before is None


@pytest.mark.parametrize("lacks", ["pixels", "memory"])
def test_what_is_too_large_is_no_failure(out: Path, lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no pictures, and has them as soon as there is room for it."""
    log = out.parent / "log"
    log.write_text(written(out, "a"))
    with monkeypatch.context() as patch:
        if lacks == "memory":
            patch.setattr(strips, "SMALL", 0)
            patch.setattr(vips, "library", lambda: None)
            patch.setattr(looking, "KEPT", 1000)
            patch.setattr(looking, "free_memory", lambda: 1000)
        page = report_folder(out, log, max_pixels=1000 if lacks == "pixels" else 10**6)
    assert page == (out / "report.html", 2, 0)
    one = next(one for one in photos_on((out / "report.html").read_bytes()) if one["name"].endswith("a.png"))
    assert (one["width"], one["height"], one["before"], one["after"], one["mse"]) == (214, 143, None, None, 3.5)
    assert one["settings"] == "4 colors, dither bayer"
    assert one["warnings"][0].startswith("it has no pictures here: a.png: ")
    assert "more than the " in one["warnings"][0]
    report_folder(out, log)
    assert all(one["after"] and not one["warnings"] for one in photos_on((out / "report.html").read_bytes()))


def test_a_result_that_cannot_be_read_has_its_reason(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be one of ours; what was noted of it is not lost."""
    report_folder(out)
    before = records(out)
    real = Path.open

    def denied(self: Path, *given: Any, **more: Any) -> Any:
        if self.name in ("a.png", "photo.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert report_folder(out)[1:] == (3, 1)
    photos = {photo["name"]: photo for photo in photos_on((out / "report.html").read_bytes())}
    reason = "what was noted of it is not shown: a.png cannot be read: Permission denied"
    assert photos["a.png"]["warnings"] == [reason]
    assert photos["photo.png"]["error"] == "the result cannot be read: photo.png cannot be read: Permission denied"
    assert records(out) == before


def test_a_folder_that_cannot_be_listed_is_a_failure(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def denied(path: str) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert report_folder(out)[1:] == (2, 1)
    photos = {photo["name"]: photo["error"] for photo in photos_on((out / "report.html").read_bytes())}
    assert photos == {"a.png": None, "sub": "this folder cannot be listed"}


def test_a_photo_that_is_gone_takes_nothing_from_its_record(out: Path) -> None:
    """Nor one that is damaged: where its thumbnail is gone, too, there is none, and all else stays."""
    (out.parent / "log").write_text(written(out, "a"))
    report_folder(out, out.parent / "log")
    before = records(out)["a.png"]
    assert before.ssim
    (out / FILES / str(before.before)).unlink()
    for damage in (lambda path: path.write_bytes(b"none"), Path.unlink):
        damage(out.parent / "photos" / "a.png")
        report_folder(out, out.parent / "log")
        assert records(out)["a.png"] == replace(before, before=None)


def test_no_link_leads_nowhere(out: Path) -> None:
    """From a folder that was copied to where its photos are not; in its old place they still are."""
    log, told = out.parent / "log", list[str]()
    failed = FileOutcome(out.parent / "photos" / "gone.jpg", out / "gone.png", "failed", error="no such file").as_json()
    log.write_text(f"{written(out, 'a')}{written(out, 'sub/b')}{failed}\n")
    report_folder(out, log, tell=told.append)
    seen = {photo["name"]: photo["source"] for photo in photos_on((out / "report.html").read_bytes())}
    links = {"a.png": "../photos/a.png", "b.png": "../photos/b.png", "gone.jpg": None}
    assert {Path(name).name: source for name, source in seen.items()} == links
    assert told == []  # of that the failure tells
    moved = out.parent / "elsewhere" / "moved"
    shutil.copytree(out, moved)
    report_folder(moved, tell=told.append)
    photos = photos_on((moved / "report.html").read_bytes())
    assert [(photo["source"], bool(photo["before"])) for photo in photos] == [(None, True), (None, True)]
    assert told == ["2 photos are no longer where the results say; no links lead there"]
    report_folder(out)
    assert {photo["source"] for photo in photos_on((out / "report.html").read_bytes())} == {*links.values()} - {None}


def test_what_a_folder_says_is_not_opened(out: Path) -> None:
    report_folder(out)
    for path in (out / FILES).glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"source": "../photos/a.png"}))
    report_folder(out)
    assert [record.before for record in records(out).values()] == [None, None]


@pytest.mark.parametrize("orientation", [1, 6])
def test_photos_are_seen_upright(out: Path, orientation: int) -> None:
    photo = out.parent / "photos" / "a.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(photo) as image:
        image.load()
    image.save(photo, exif=exif)
    quantize(photo, 4).save(out / "a.png")
    (out.parent / "log").write_text(written(out, "a"))
    report_folder(out, out.parent / "log")
    one = records(out)["a.png"]
    assert one.ssim is not None
    assert one.ssim > 0.5
    with Image.open(out / FILES / str(one.before)) as before:
        assert before.size == ((214, 143) if orientation == 1 else (143, 214))


def test_where_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is not a folder; name one that holds results"):
        report_folder(tmp_path / "missing")
    with pytest.raises(ArgumentError, match="holds no results that say that gpuquant wrote them"):
        report_folder(tmp_path)
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ArgumentError, match="is not overwritten"):
        report_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

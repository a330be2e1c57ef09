"""The files beside a page: what is kept of a result is found again, unless the result is another one."""

import errno
import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin

import pytest
from commands import on_disk

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.targets import whole_target
from gpuquant.report import folder
from gpuquant.report.folder import FILES, PAGE, ReportFolder, link_to
from gpuquant.report.record import PhotoRecord

RECORD = PhotoRecord("photos/a.jpg", colors=("#102030",), shares=(1.0,), mse=2.5)


@pytest.fixture
def files(tmp_path: Path) -> ReportFolder:
    (tmp_path / "photos").mkdir()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "sub" / "a.png").write_bytes(b"a result")
    return ReportFolder(tmp_path / "out")


def test_a_record_is_kept_with_its_thumbnails(files: ReportFolder, tmp_path: Path) -> None:
    target, source = on_disk(files.folder) / "sub" / "a.png", tmp_path / "photos" / "a.jpg"
    assert files.kept(target) is None
    kept = files.keep(RECORD, source, target, (b"before", b"after"))
    assert (kept.source, kept.target) == ("../photos/a.jpg", "sub/a.png")
    assert files.kept(target) == kept
    assert kept.before
    assert kept.after
    assert (on_disk(files.folder) / FILES / kept.before).read_bytes() == b"before"
    assert (on_disk(files.folder) / FILES / kept.after).read_bytes() == b"after"
    moved = tmp_path / "moved"
    on_disk(files.folder).rename(moved)
    assert ReportFolder(moved).kept(moved / "sub" / "a.png") == kept


def test_another_result_is_not_known(files: ReportFolder) -> None:
    target = on_disk(files.folder) / "sub" / "a.png"
    for before, after in ((b"a" * 99, b"a" * 100), (b"a" * 20_000, b"b" + b"a" * 19_999), (b"a" * 9, b"a" * 8 + b"b")):
        target.write_bytes(before)
        files.keep(RECORD, None, target, (None, b"after"))
        assert files.kept(target) is not None
        target.write_bytes(after)
        assert files.kept(target) is None
    target.unlink()
    assert files.kept(target) is None


def test_thumbnails_that_are_gone_are_not_shown(files: ReportFolder) -> None:
    target = on_disk(files.folder) / "sub" / "a.png"
    first = files.keep(RECORD, None, target, (b"before", b"after"))
    assert files.keep(RECORD, None, target, (None, b"after")).before is None
    found = files.kept(target)
    assert found is not None
    assert found.before is None
    assert first.after
    (on_disk(files.folder) / FILES / first.after).unlink()
    found = files.kept(target)
    assert found is not None
    assert found.after is None


def test_a_record_of_someone_else_is_not_trusted(files: ReportFolder) -> None:
    target = on_disk(files.folder) / "sub" / "a.png"
    files.keep(RECORD, None, target, (b"before", b"after"))
    (path,) = (on_disk(files.folder) / FILES).glob("*.json")
    good = json.loads(path.read_text())
    for text in ("", "[", "[" * 100_000, "3", json.dumps(good | {"mse": "low"}), json.dumps(good | {"mark": 3})):
        path.write_text(text)
        assert files.kept(target) is None
    path.write_text(json.dumps(good | {"before": "../../secret.jpg", "target": "elsewhere.png"}))
    found = files.kept(target)
    assert found is not None
    assert (found.before, found.target) == (None, "sub/a.png")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_nobody_waits_for_a_pipe(files: ReportFolder, make: Callable[[Path], None]) -> None:
    target = on_disk(files.folder) / "sub" / "a.png"
    files.keep(RECORD, None, target, (b"before", b"after"))
    (path,) = (on_disk(files.folder) / FILES).glob("*.json")
    data = path.read_bytes()
    path.unlink()
    make(path)
    assert files.kept(target) is None
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(data)
    assert files.kept(target) is not None
    target.unlink()
    make(target)
    assert files.kept(target) is None
    make(on_disk(files.page))
    with pytest.raises(ArgumentError, match="is not overwritten"):
        files.check_page()


def test_a_record_that_cannot_be_read_may_be_there(files: ReportFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is not the same as none: also of a result that cannot be read, and where the system does not say."""
    target = on_disk(files.folder) / "sub" / "a.png"
    files.keep(RECORD, None, target, (b"before", b"after"))
    real: dict[str, Any] = {"open": Path.open, "stat": Path.stat}
    for name, suffix in product(real, (".json", ".png", ".jpg")):

        def denied(self: Path, *given: Any, name: str = name, suffix: str = suffix, **more: Any) -> Any:
            if self.suffix == suffix:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real[name](self, *given, **more)

        if (name, suffix) != ("open", ".jpg"):  # which is not opened
            with monkeypatch.context() as patch:
                patch.setattr(Path, name, denied)
                with pytest.raises(ImageFileError, match="cannot be read: Permission"):
                    files.kept(target)
    assert files.kept(target) is not None


def test_what_is_noted_of_results_that_are_gone_goes(files: ReportFolder) -> None:
    """And nothing else: of those that are there, that nobody can know of, or that others wrote."""
    out = on_disk(files.folder)
    places = [out / "sub" / "a.png", out / "b.png", out / "gone" / "c.png", out.parent / "d.png", out / "e.png"]
    keys = []
    for place in places:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"a result")
        keys.append(str(files.keep(RECORD, None, place, (b"before", b"after")).after).partition("-")[0])
        if place.name != "b.png":
            place.unlink()
    (out / "gone").rmdir()
    others = {"0" * 20 + ".json", "0" * 20 + "-after.jpg", "1" * 20 + "-after.jpg", "mine.json"}
    for name in others:
        (out / FILES / name).write_text(json.dumps({"name": "x", "target": "../../no.png"}))
    broken = json.loads((out / FILES / f"{keys[4]}.json").read_text())
    (out / FILES / f"{keys[4]}.json").write_text(json.dumps(broken | {"target": "a\0.png"}))
    files.forget_gone([places[0]])  # which is known to be there
    kept = {f"{key}{end}" for key in (keys[0], keys[1], keys[4]) for end in (".json", "-before.jpg", "-after.jpg")}
    assert {path.name for path in (out / FILES).iterdir()} == kept | others
    (out / FILES).rename(out / "moved")
    (out / FILES).symlink_to(out / "moved")
    files.forget_gone([])
    assert len(list((out / "moved").iterdir())) == len(kept | others)


def test_what_cannot_be_written(files: ReportFolder, tmp_path: Path) -> None:
    target = on_disk(files.folder) / "sub" / "a.png"
    (on_disk(files.folder) / FILES).write_bytes(b"")
    with pytest.raises(ImageFileError, match="gpuquant-report-files cannot be written: "):
        files.keep(RECORD, None, target, (b"before", b"after"))
    (on_disk(files.folder) / FILES).unlink()
    (on_disk(files.folder) / FILES).symlink_to(tmp_path / "photos")
    with pytest.raises(ImageFileError, match="is a symlink; remove it"):
        files.keep(RECORD, None, target, (b"before", b"after"))
    assert list((tmp_path / "photos").iterdir()) == []


@pytest.mark.parametrize("full_at", ["-before.jpg", "-after.jpg", ".json"])
def test_on_a_full_disk_nothing_is_left_behind(
    files: ReportFolder, full_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of this result nor of the one before it, which it was written over."""
    target, real = on_disk(files.folder) / "sub" / "a.png", whole_target
    files.keep(RECORD, None, target, (b"before", b"after"))

    def full(path: Path) -> Any:
        if path.name.endswith(full_at):
            raise ImageFileError(f"{path} cannot be written: No space left on device")
        return real(path)

    monkeypatch.setattr(folder, "whole_target", full)
    with pytest.raises(ImageFileError, match="No space left on device"):
        files.keep(RECORD, None, target, (b"before", b"after"))
    assert list((on_disk(files.folder) / FILES).iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{out}/sub/a.png exists", "sub/a.png exists"),
        ("{top}/photos/a.jpg: no such file", "a.jpg: no such file"),
        ("'/home/me and you/b.png' and /var/tmp/c: full; s3://box/my/key.png?", "'b.png' and c: full; key.png?"),
        ("10 m/s, 3/4 of a.png, out/b.png and/or ../c/d.png", "10 m/s, 3/4 of a.png, out/b.png and/or ../c/d.png"),
        ("1 / 2, /", "1 / 2, /"),
    ],
)
def test_words_tell_names_and_not_where_they_are(files: ReportFolder, tmp_path: Path, text: str, told: str) -> None:
    text = text.format(out=tmp_path / "out", top=tmp_path)
    found = files.to_share(PhotoRecord("a", source="../photos/a.jpg", error=text, warnings=(text, "b")))
    assert (found.error, found.warnings) == (told, (told, "b"))
    assert files.to_share(RECORD) == RECORD


def test_a_page_of_someone_else_stays(files: ReportFolder) -> None:
    files.check_page()
    page = on_disk(files.folder) / PAGE
    page.write_text('<html><meta name="generator" content="gpuquant 9">')
    files.check_page()
    page.write_text("<html>my thoughts on gpuquant")
    with pytest.raises(ArgumentError, match=r"report\.html is not overwritten: .*; move or rename it$"):
        files.check_page()
    page.unlink()
    page.mkdir()
    with pytest.raises(ArgumentError, match="is not overwritten"):
        files.check_page()


@pytest.mark.parametrize(
    "place",
    [
        "a.png", "../b/ä #?%.png", "javascript:alert(1)", "//host/a", "x<\"'&/script>.png", os.fsdecode(b"\xff\n.png"),
        "..", "..x",
    ],
)  # fmt: skip
def test_links_are_relative_whatever_files_are_called(place: str) -> None:
    link = link_to(place)
    assert link is not None
    assert link.startswith(("./", "../"))
    assert not set(link) & set("<>\"'&:?#\\ \n")
    assert unquote_to_bytes(link.removeprefix("./")) == os.fsencode(place)
    assert urljoin("http://host/out/report.html", link).startswith("http://host/")
    assert link_to(None) is None

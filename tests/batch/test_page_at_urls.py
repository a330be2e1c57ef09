"""The report of a batch whose photos or results are at URLs, or whose workers are those of a cluster."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import photos_on, run
from played_cluster import PlayedCluster, Script
from stores import SECRETS, Shelf, contents, pages, photos_in, put, shelf

from gpuquant import quantize_files
from gpuquant.batch import cluster_crew
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import place_of, stores
from gpuquant.report.folder import FILES, PAGE
from gpuquant.report.recipe import report_folder

NAMES = ("a.png", "sub/a ä%.png", "sub/b.jpg")
VARYING = "seconds", "source"  # of photos on a page

pytestmark = pytest.mark.usefixtures("no_place_is_told")


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setattr(stores, "PAUSE", 0)
    with shelf() as store:
        yield store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos on disk, of which one is none; the same at memory://photos and in a folder of shelf://all."""
    folder = tmp_path / "photos"
    photos_in(folder, NAMES, (30, 40))
    (folder / "sub" / "broken.jpg").write_bytes(b"none")
    for path in folder.rglob("*.*"):
        for top in ("memory://photos", "shelf://all/photos"):
            put(f"{top}/{path.relative_to(folder)}", path.read_bytes())
    return folder


@pytest.fixture
def local(photos: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of the batch on disk, with its report."""
    list(quantize_files(photos, tmp_path / "out", 4, recursive=True, report=True))
    return files_in(tmp_path / "out")


def files_in(place: str | Path) -> dict[str, bytes]:
    if isinstance(place, str):
        return contents(place)
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def told(page: bytes) -> list[dict[str, Any]]:
    """All that is on a page, but for what differs from place to place, and from run to run."""
    return [{name: value for name, value in photo.items() if name not in VARYING} for photo in photos_on(page)]


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """The same page, results, and thumbnails under the same names."""
    assert set(found) == set(expected)
    assert told(found[PAGE]) == told(expected[PAGE])
    for name in set(found) - {PAGE}:
        assert name.endswith(".json") or found[name] == expected[name], name


def dying_after(n_files: int) -> Script:
    """A worker dies when it has written one more, and before it can tell."""
    numbers = count()
    return lambda _, method, __: "after" if method == "work" and next(numbers) == n_files else None


def test_the_page_is_that_on_disk(photos: Path, local: dict[str, bytes], tmp_path: Path) -> None:
    assert len(local) == 3 + 1 + 3 * 3
    for source, target in (
        ("shelf://all/photos", "shelf://all/out"),
        ("memory://photos/", "shelf://all/deep/out/"),
        (photos, "memory://up"),
        ("shelf://all/photos", tmp_path / "down"),
    ):
        batch = quantize_files(source, target, 4, recursive=True, report=True)
        outcomes = {outcome.source.name: outcome for outcome in batch}
        assert batch.report == place_of(str(target)) / PAGE
        found = files_in(target)
        assert_same(found, local)
        assert not any(outcome.warnings for outcome in outcomes.values())


def test_links_are_those_that_can_be_followed(photos: Path, tmp_path: Path) -> None:
    """Below the page, and from there within a bucket; to no other store, and not from or to the disk."""
    inside = {"../photos/a.png", "../photos/sub/a%20%C3%A4%25.png", "../photos/sub/b.jpg", "../photos/sub/broken.jpg"}
    for source, target, links in (
        ("shelf://all/photos", "shelf://all/out", inside),
        ("memory://photos/", "shelf://all/out2", {None}),
        (photos, "memory://up", {None}),
        ("shelf://all/photos", "shelf://up", {None}),
        ("shelf://all/photos", tmp_path / "down", {None}),
    ):
        list(quantize_files(source, target, 4, recursive=True, report=True))
        found = photos_on(files_in(target)[PAGE])
        assert {photo["source"] for photo in found} == links
        assert {photo["target"] for photo in found} == {
            None, "./a.png", "./sub/a%20%C3%A4%25.png", "./sub/b.png"
        }  # fmt: skip
        assert {photo["name"] for photo in found} == {*NAMES, "sub/broken.jpg"}


def test_on_a_cluster(photos: Path, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers write thumbnails and records where the results are; one dies when it has written, and its file again."""
    n_threads = torch.get_num_threads()
    for source, target in ((photos, tmp_path / "there"), ("shelf://all/photos", "shelf://all/out")):
        played = PlayedCluster(2, 1, script=dying_after(1))
        monkeypatch.setattr(cluster_crew, "connected", lambda _, played=played: nullcontext(played))
        list(quantize_files(source, target, 4, recursive=True, report=True, cluster="auto"))
        assert len(played.started) == 3
        assert_same(files_in(target), local)
    torch.set_num_threads(n_threads)


def test_a_batch_that_is_taken_up(photos: Path, local: dict[str, bytes]) -> None:
    given: dict[str, Any] = {"recursive": True, "report": True}
    batch = quantize_files("memory://photos", "shelf://all/out", 4, jobs=1, **given)
    for _ in range(2):
        next(batch)
    batch.close()
    assert len(photos_on(contents("shelf://all/out")[PAGE])) == 2
    list(quantize_files("memory://photos", "shelf://all/out", 4, existing="skip", **given))
    assert_same(contents("shelf://all/out"), local)


def test_results_beside_their_photos_at_urls(photos: Path) -> None:
    batch = quantize_files(["shelf://all/photos/sub/", "shelf://all/photos/a.png"], None, 4, suffix="-4", report=True)
    assert batch.report is None
    assert {outcome.status for outcome in batch} == {"written", "failed"}
    assert str(batch.report) == "shelf://all/photos/report.html"
    found = photos_on(contents("shelf://all/photos")[PAGE])
    assert {photo["target"] for photo in found} >= {"./a-4.png", "./sub/b-4.png"}
    with pytest.raises(ArgumentError, match="the results have no folder in common for the report; name one"):
        quantize_files(["shelf://all/photos/a.png", photos / "a.png"], None, 4, suffix="-5", report=True)


def test_secrets_are_nowhere(photos: Path) -> None:
    user, query = f"me:{SECRETS[0]}@", f"?key={SECRETS[1]}"
    paths = [f"shelf://{user}all/photos/{name}{query}" for name in ("a.png", "sub/broken.jpg", "none.jpg")]
    list(quantize_files(paths, f"shelf://{user}all/out", 4, report=True))
    found = contents("shelf://all/out")
    assert len(photos_on(found[PAGE])) == 3
    assert set(found) > {PAGE, "a.png"}
    for data in found.values():
        assert not any(secret.encode() in data for secret in SECRETS)
    assert {photo["source"] for photo in photos_on(found[PAGE])} == {
        "../photos/a.png", "../photos/sub/broken.jpg", None
    }  # fmt: skip


def test_photos_on_the_web_have_thumbnails_and_no_link(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    data = (photos / "a.png").read_bytes()
    with pages({"/a.png": data}) as server:
        url = server.replace("http://", f"http://me:{SECRETS[0]}@")
        for target in ("memory://out", tmp_path / "out"):
            (outcome,) = quantize_files(f"{url}/a.png?sig={SECRETS[1]}", target, 4, report=True)
            assert outcome.status == "written"
    for found in (contents("memory://out"), files_in(tmp_path / "out")):
        (photo,) = photos_on(found[PAGE])
        assert (photo["name"], photo["source"], photo["target"]) == ("a.png", None, "./a.png")
        assert f"{FILES}/{photo['before']}" in found
        for text in found.values():
            assert not any(secret.encode() in text for secret in (*SECRETS, "127.0.0.1"))


def test_the_command_of_a_batch(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    given = ["batch", "memory://photos/a.png", "-o", f"shelf://me:{SECRETS[0]}@all/out", "-k", "4", "--report"]
    code, out, err = run(given, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert "\nwrote shelf://all/out/report.html\n1 written; " in out
    assert PAGE in contents("shelf://all/out")


class BusyError(Exception):
    """As aiohttp has it."""

    status = 503


@pytest.mark.parametrize("error", [BusyError("Slow Down"), PermissionError("Forbidden")])
@pytest.mark.parametrize(("what", "ending"), [("read", ".json"), ("info", ".json"), ("info", "-before.jpg")])
def test_what_was_noted_is_not_lost(photos: Path, error: Exception, what: str, ending: str) -> None:
    """Where a record or a thumbnail does not answer, the photo has a warning, and next time all is there."""

    def fault(asked: str, path: str) -> None:
        if asked == what and path.startswith("/all/out/") and path.endswith(ending):
            raise error

    given: dict[str, Any] = {"recursive": True, "report": True}
    list(quantize_files("memory://photos", "shelf://all/out", 4, **given))
    before = contents("shelf://all/out")
    Shelf.fault = fault
    report_folder("shelf://all/out")
    found = contents("shelf://all/out")
    for photo in photos_on(found[PAGE]):
        assert photo["warnings"][0].startswith("what was noted of it is not shown: ")
        assert (photo["mse"], photo["error"]) == (None, None)
        assert photo["bytesOut"] > 0
    assert found | {PAGE: b""} == before | {PAGE: b""}
    Shelf.fault = None
    list(quantize_files("memory://photos", "shelf://all/out", 4, existing="skip", **given))
    assert_same(contents("shelf://all/out"), before)


def test_a_page_that_cannot_be_written(photos: Path) -> None:
    def denied(what: str, path: str) -> None:
        if what == "write" and FILES in path:
            raise PermissionError("Forbidden")

    def all_denied(what: str, _: str) -> None:
        if what == "write":
            raise PermissionError("Forbidden")

    Shelf.fault = denied
    batch = quantize_files("memory://photos/a.png", "shelf://all/out", 4, report=True)
    outcome = next(batch)
    assert outcome.status == "written"
    assert outcome.warnings[0].startswith("it has no thumbnails in the report: shelf://all/out/gpuquant-report-files/")
    Shelf.fault = all_denied
    with pytest.raises(ImageFileError, match=r"report\.html cannot be written: access is denied"):
        next(batch)
    assert batch.report is None
    Shelf.fault = None
    put("shelf://all/out/report.html", b"my thoughts")
    with pytest.raises(ArgumentError, match=r"shelf://all/out/report\.html is not overwritten"):
        quantize_files("memory://photos/a.png", "shelf://all/out", 4, report=True, existing="skip")


def test_thumbnails_of_results_that_are_gone(photos: Path, local: dict[str, bytes]) -> None:
    list(quantize_files("memory://photos", "shelf://all/out", 4, recursive=True, report=True))
    del Shelf.store["/all/out/a.png"]
    report_folder("shelf://all/out")
    assert len(contents("shelf://all/out")) == len(local) - 4


def denied_photos(what: str, path: str) -> None:
    """A log tells no user info, without which these photos may not be read."""
    if path.startswith("/all/photos"):
        raise PermissionError("Forbidden")


def test_a_report_of_results_at_urls(
    photos: Path, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Where no batch noted anything, it is found in the files, and in a log; and again it is what was noted."""
    log = tmp_path / "log"
    list(quantize_files("shelf://all/photos", "shelf://all/out", 4, recursive=True, log=log))
    Shelf.fault = denied_photos
    assert report_folder("shelf://all/out", log)[1:] == (4, 1)
    assert {photo["before"] for photo in photos_on(contents("shelf://all/out")[PAGE])} == {None}
    Shelf.fault = None
    put("shelf://all/out/photo.png", (photos / "a.png").read_bytes())
    assert report_folder("shelf://all/out/", log)[1:] == (4, 1)
    found = contents("shelf://all/out")
    page = found[PAGE]
    del found["photo.png"]
    assert_same(found, local)
    code, out, err = run(["report", "shelf://all/out", "--log", log], monkeypatch, capsys)
    assert (code, out, err) == (0, "wrote shelf://all/out/report.html: 4 photos, 1 failed\n", "")
    assert contents("shelf://all/out")[PAGE] == page
    Shelf.asked.clear()
    assert report_folder("shelf://all/out")[1:] == (3, 0)
    assert not [path for what, path in Shelf.asked if what == "read" and path.startswith("/all/photos")]
    put("shelf://all/log", log.read_bytes())
    report_folder("shelf://all/out", "shelf://all/log")
    assert contents("shelf://all/out")[PAGE] == page


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["https://host/out"], 2, "https://host/out: https:// can only be read; name another place"),
        (["shelf://none"], 2, "shelf://none is not a folder; name one that holds results"),
        (["shelf://all"], 2, "shelf://all holds no results that say that gpuquant wrote them; name another folder"),
        (["shelf://all", "--log", "shelf://all/log?key=hunter2"], 1, "shelf://all/log: no such file"),
        (["nowhere://a"], 2, "nowhere://a: nowhere:// is no kind of URL that fsspec knows"),
    ],
)
def test_errors_are_one_line(
    given: list[str], code: int, said: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found, out, err = run(["report", *given], monkeypatch, capsys)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
    assert not any(PAGE in path for path in Shelf.store)

"""Batches from and to URLs, beside the same batch on disk."""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import by_name
from stores import SECRETS, Shelf, contents, photos_in, put, shelf

import gpuquant
from gpuquant import quantize_files
from gpuquant.batch.plan import plan_files
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import place_of, stores
from gpuquant.report.log import read_log

NAMES = ("b.png", "a.jpg", "a.png", "sub/ä 1.jpg", "sub/deep/c.tif", "sub/B.jpg")


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setattr(stores, "PAUSE", 0)
    with shelf() as store:
        yield store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos on disk, and the same at memory://photos and shelf://photos."""
    folder = tmp_path / "photos"
    photos_in(folder, NAMES, (20, 20))
    for name in NAMES:
        for store in ("memory", "shelf"):
            put(f"{store}://photos/{name}", (folder / name).read_bytes())
    Shelf.asked.clear()
    return folder


def on_disk(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("settings", [{}, {"recursive": True}, {"recursive": True, "shared_palette": True}])
def test_results_are_those_of_a_batch_on_disk(photos: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    local = list(quantize_files(photos, tmp_path / "out", 4, **settings))
    expected = on_disk(tmp_path / "out")
    assert len(expected) >= 3
    for source, target in (("memory://photos/", "shelf://out"), ("shelf://photos", "memory://deep/out/")):
        there = list(quantize_files(source, target, 4, **settings))
        assert contents(target) == expected
        assert [outcome.status for outcome in there] == ["written"] * len(local)
        assert {
            str(one.target).removeprefix(target.rstrip("/")): (one.bytes_in, one.bytes_out, one.mse) for one in there
        } == {
            str(one.target).removeprefix(str(tmp_path / "out")): (one.bytes_in, one.bytes_out, one.mse) for one in local
        }
    list(quantize_files("memory://photos", tmp_path / "down", 4, **settings))
    assert on_disk(tmp_path / "down") == expected
    list(quantize_files(photos, "memory://up", 4, **settings))
    assert contents("memory://up") == expected


def test_the_plan_is_that_on_disk(photos: Path) -> None:
    for recursive in (False, True):
        local = plan_files([photos], "out", recursive=recursive)
        there = plan_files(["memory://photos"], "s3://bucket/out", recursive=recursive)
        assert [str(file.source) for file in there.files] == [
            f"memory://photos/{file.source.relative_to(photos)}"
            for file in local.files
            if isinstance(file.source, Path)
        ]
        assert [str(file.target) for file in there.files] == [f"s3://bucket/{file.target}" for file in local.files]


def test_results_beside_their_photos(photos: Path) -> None:
    before = contents("memory://photos")
    for status in ("written", "skipped"):
        outcomes = list(quantize_files("memory://photos", None, 4, recursive=True, suffix="-4", existing="skip"))
        assert [outcome.status for outcome in outcomes] == [status] * len(NAMES)
    found = contents("memory://photos")
    assert {name: found[name] for name in before} == before
    assert sorted(set(found) - set(before)) == sorted(
        {"b-4.png", "a.jpg-4.png", "a.png-4.png", "sub/ä 1-4.png", "sub/deep/c-4.png", "sub/B-4.png"}
    )


AWKWARD = {
    "plain.jpg": "plain.png",
    "UPPER.JPG": "UPPER.JPG.png",
    "upper.jpg": "upper.jpg-2.png",
    "ünï/ça.jpg": "ünï/ça.png",
    "a b/#1?.jpg": "a b/#1?.png",
    "a[1]*/b.jpg": "a[1]*/b.png",
}
NOT_READ = ("../up.jpg", "sub/../../up.jpg", "//etc/x.jpg", "a//b.jpg", "./c.jpg", "a\0.jpg")
HIDDEN = (".hidden.jpg", ".folder/a.jpg", "sub/.x/b.jpg")


def test_awkward_keys_stay_inside_of_the_target(photos: Path, files: dict[str, Any], tmp_path: Path) -> None:
    photo = (photos / "a.jpg").read_bytes()
    plan_of: dict[str, bytes] = dict.fromkeys((*AWKWARD, *NOT_READ, *HIDDEN), photo)
    put("memory://x", photo)
    system, _ = place_of("memory://x").system()  # type: ignore[union-attr]
    for key in plan_of:
        system.store[f"/keys/{key}"] = system.store["/x"]
    del system.store["/x"]
    system.store["/keys/folder/"] = system.store["/keys/plain.jpg"]  # as consoles of S3 mark folders
    for output in ("memory://safe/out", tmp_path / "safe" / "out"):
        batch = quantize_files("memory://keys", output, 4, recursive=True)
        assert batch.passed_over == {".jpg": len(NOT_READ)}
        targets = {str(file.target).removeprefix(f"{output}/") for file in batch.files}
        assert targets == set(AWKWARD.values())
        assert {outcome.error for outcome in batch} == {None}
    assert set(contents("memory://safe")) == {f"out/{place}" for place in targets}
    assert set(on_disk(tmp_path / "safe")) == {f"out/{place}" for place in targets}


@pytest.mark.parametrize("store", ["memory", "shelf"])
def test_what_begins_a_query_or_fragment_is_a_part_of_names(photos: Path, tmp_path: Path, store: str) -> None:
    names = ("photo #1.png", "photo #2.png", "photo ?.png", "a#b/c?d.png")
    for name in names:
        put(f"{store}://keys/{name}", (photos / "a.png").read_bytes())
    log = tmp_path / "log"
    for output in ("out#1", "out#2", "deep/out?"):
        list(quantize_files(f"{store}://keys/", f"{store}://{output}/", 4, recursive=True, log=log))
        assert contents(f"{store}://{output}").keys() == set(names)
    assert len(read_log(log).photos) == 3 * len(names)
    assert {one.target.name for one in read_log(log).photos.values()} == {name.rpartition("/")[2] for name in names}
    outcomes = list(quantize_files(f"{store}://keys/photo #1.png", f"{store}://named", 4))
    assert [(one.error, str(one.target)) for one in outcomes] == [(None, f"{store}://named/photo #1.png")]


def test_a_folder_of_the_name_of_an_object(photos: Path) -> None:
    system, _ = place_of("memory://photos").system()  # type: ignore[union-attr]
    system.store["/both/a.jpg"] = system.store["/photos/a.jpg"]
    system.store["/both/a.jpg/b.jpg"] = system.store["/photos/a.jpg"]
    outcomes = list(quantize_files("memory://both", "memory://out", 4, recursive=True))
    assert sorted(str(outcome.target) for outcome in outcomes) == ["memory://out/a.jpg/b.png", "memory://out/a.png"]
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [str(file.source) for file in plan_files(["memory://both/a.jpg"], "out").files] == ["memory://both/a.jpg"]


def test_a_photo_that_vanishes_is_one_that_fails(photos: Path, files: dict[str, Any], tmp_path: Path) -> None:
    batch = quantize_files("shelf://photos", "memory://out", 4, log=tmp_path / "log.jsonl")
    del files["/photos/b.png"]
    outcomes = by_name(batch)
    assert (outcomes["b.png"].status, outcomes["b.png"].error) == ("failed", "no such file")
    assert outcomes["a.jpg"].status == outcomes["a.png"].status == "written"
    (line,) = [line for line in (tmp_path / "log.jsonl").read_text().splitlines() if "failed" in line]
    assert json.loads(line)["source"] == "shelf://photos/b.png"


def test_a_store_that_is_busy_costs_one_file(photos: Path) -> None:
    def busy(what: str, path: str) -> None:
        if what == "read" and path.endswith("a.jpg"):
            raise OSError(16, "Please reduce your request rate.")

    Shelf.fault = busy
    outcomes = by_name(quantize_files("shelf://photos", "memory://out", 4))
    assert outcomes["a.jpg"].error == "it cannot be read: Please reduce your request rate. (tried several times)"
    assert sorted(contents("memory://out")) == ["a.png.png", "b.png"]


def test_a_denied_write_is_found_before_anything_is_read(photos: Path) -> None:
    def denied(what: str, path: str) -> None:
        if what == "write":
            raise PermissionError("Forbidden")

    Shelf.fault = denied
    with pytest.raises(ImageFileError, match=r"^shelf://out cannot be written: access is denied \(Forbidden\)$"):
        list(quantize_files("shelf://photos", "shelf://out", 4))
    assert [what for what, _ in Shelf.asked if what == "read" and not _.endswith("png")] == []
    assert contents("shelf://out") == {}


def test_resuming(photos: Path) -> None:
    def statuses(n_colors: int = 4, **settings: Any) -> str:
        outcomes = list(quantize_files("memory://photos", "shelf://out", n_colors, recursive=True, **settings))
        return "".join(outcome.status[0] for outcome in sorted(outcomes, key=lambda one: str(one.source)))

    assert statuses() == "wwwwww"
    before = contents("shelf://out")
    with pytest.raises(ArgumentError, match=r"6 of 6 results exist already, such as shelf://out/"):
        statuses()
    del Shelf.store["/out/b.png"]
    Shelf.asked.clear()
    assert statuses(existing="skip") == "sswsss"
    n_reads = sum(what == "read" and path.startswith("/out") for what, path in Shelf.asked)
    assert n_reads <= 3 * 5  # the head of each for its note, and head and end, which are whole
    assert contents("shelf://out") == before
    with pytest.raises(
        ArgumentError, match=r"shelf://out/\S+ was made with n_colors=4, not n_colors=8; write those anew"
    ):
        statuses(8, existing="skip")
    put("shelf://out/b.png", before["b.png"][:-20])
    with pytest.warns(UserWarning, match=r"1 of 6 results cannot be read, or are damaged, such as shelf://out/b.png"):
        assert statuses(existing="skip") == "ssssss"
    assert statuses(existing="update") == "sswsss"
    assert statuses(8, existing="update") == "wwwwww"
    assert statuses(existing="overwrite") == "wwwwww"
    assert contents("shelf://out") == before


def test_results_are_no_photos_and_photos_are_not_overwritten(photos: Path) -> None:
    list(quantize_files("memory://photos", "memory://photos/out", 4))
    batch = quantize_files("memory://photos", "memory://elsewhere", 4, recursive=True)
    assert (len(batch), batch.results_passed_over) == (len(NAMES), 3)
    again = quantize_files("memory://photos", "memory://photos/out", 4, recursive=True, existing="skip")
    assert len(again) == len(NAMES)
    with pytest.raises(ArgumentError, match=r"memory://photos/b\.png is one of the photos; choose another place"):
        quantize_files("memory://photos/b.png", "memory:///photos/", 4)
    put("memory://photos/b-4.png", contents("memory://photos")["b.png"])
    with pytest.raises(ArgumentError, match=r"memory://photos/b-4.png is not overwritten: it does not say that"):
        quantize_files("memory://photos/b.png", None, 4, suffix="-4", existing="overwrite")


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(16, "Please slow down"), "Please slow down (tried"), (PermissionError("No"), "access is denied (No)")],
)
def test_results_that_cannot_be_looked_into_are_no_photos(photos: Path, error: Exception, words: str) -> None:
    """Nobody knows whether they are: none is taken for a photo, kept without its options, or overwritten."""

    def fail(what: str, path: str) -> None:
        if what == "read" and path == "/photos/b-4.png":
            raise error

    list(quantize_files("shelf://photos/b.png", None, 4, suffix="-4"))
    before = contents("shelf://photos")
    Shelf.fault = fail
    batch = quantize_files("shelf://photos", "memory://out", 4)
    assert batch.results_passed_over == 0
    Shelf.fault = None  # by now it can be read
    outcomes = by_name(batch)
    assert outcomes["b-4.png"].status == "failed"
    assert (outcomes["b-4.png"].error or "").startswith(f"it cannot be read: {words}")
    assert contents("memory://out").keys() == {"b.png", "a.jpg.png", "a.png.png"}
    assert [one.error for one in quantize_files("shelf://photos/b-4.png", "memory://named", 4)] == [None]
    Shelf.fault = fail
    for existing in ("skip", "update", "overwrite"):
        with pytest.raises(ImageFileError, match=f"^shelf://photos/b-4.png cannot be read: {re.escape(words)}"):
            quantize_files("shelf://photos/b.png", None, 4, suffix="-4", existing=existing)
    assert contents("shelf://photos") == before


def test_a_shared_palette_that_cannot_be_read_is_not_taken_for_none(photos: Path) -> None:
    list(quantize_files("shelf://photos", "shelf://out", 4, shared_palette=True))

    def fail(what: str, path: str) -> None:
        if what == "read" and path.endswith("palette.hex"):
            raise PermissionError("Forbidden")

    Shelf.fault = fail
    for existing in ("skip", "update"):
        with pytest.raises(ImageFileError, match=r"^shelf://out/palette.hex cannot be read: access is denied"):
            quantize_files("shelf://photos", "shelf://out", 4, shared_palette=True, existing=existing)


def test_one_listing_and_one_request_for_a_photo(photos: Path) -> None:
    list(quantize_files("shelf://photos", "memory://out", 4, recursive=True))
    asked = [what for what, path in Shelf.asked if not path.endswith(".png") and not path.endswith(".tif")]
    assert asked.count("find") == 1
    assert asked.count("read") == 3  # of the three that cannot be results
    assert asked.count("info") <= 1  # of the folder


def test_secrets_are_shown_nowhere(photos: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    user, query = f"me:{SECRETS[0]}@", f"?key={SECRETS[1]}"
    shown = []
    with warnings.catch_warnings(record=True) as told:
        for source in (f"shelf://{user}photos/a.jpg{query}", f"shelf://{user}photos/none.jpg{query}"):
            batch = quantize_files(source, f"shelf://{user}out", 4, log=log, existing="overwrite")
            shown += [repr(batch), repr(batch.files), *map(repr, batch), *(one.as_json() for one in batch)]
        result = gpuquant.quantize_file(f"shelf://{user}photos/a.jpg{query}", f"shelf://{user}x/a.png", 4)
        with pytest.raises(gpuquant.GpuquantError) as error:
            quantize_files(f"shelf://{user}photos/a.jpg{query}", f"shelf://{user}x", 4)
    shown += [repr(result), str(error.value), log.read_text(), *(str(one.message) for one in told)]
    assert "shelf://photos/a.jpg" in log.read_text()
    assert contents("shelf://out").keys() == {"a.png"}
    for text in (*shown, *(data.decode("latin-1") for data in contents("shelf://out").values())):
        assert not any(secret in text for secret in SECRETS)


def test_what_cannot_be() -> None:
    for settings, words in (
        ({"output": "https://host/out"}, "https://host/out: https:// can only be read; name another place"),
        (
            {"paths": "https://host/photos/"},
            "https://host/photos: folders at https:// cannot be listed; name the files",
        ),
        ({"paths": "https://host/a.jpg", "output": None, "suffix": "-4"}, "https://host/a-4.png: https:// can only be"),
        (
            {"log": "shelf://log?x=hunter2"},
            "the log is written line by line, which shelf://log does not take; name a",
        ),
        ({"paths": "nowhere://a/b.jpg"}, "nowhere:// is no kind of URL that fsspec knows"),
        ({"output": "nowhere://a"}, "nowhere:// is no kind of URL that fsspec knows"),
        ({"paths": "memory://none/"}, "there are no image files to read in memory://none"),
        ({"paths": "memory://me:hunter2@a\0"}, r"paths must be paths, got 'memory://a\x00'"),
    ):
        given: dict[str, Any] = {"paths": "memory://a.jpg", "output": "memory://out", **settings}
        with pytest.raises(ArgumentError, match=re.escape(words)):
            quantize_files(n_colors=4, **given)


def test_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of a big listing is no matter, and each key is taken once."""
    n_keys = 20_000
    infos = {
        f"/many/f{number % 97}/{number}.jpg": {"name": f"/many/f{number % 97}/{number}.jpg", "size": 9, "type": "file"}
        for number in range(n_keys)
    }
    monkeypatch.setattr(Shelf, "find", lambda self, path, **_: infos)
    plan = plan_files(["shelf://many/"], "shelf://out", recursive=True)
    assert len({str(file.target) for file in plan.files}) == n_keys
    assert [str(file.source) for file in plan.files] == sorted(
        (f"shelf:/{name}" for name in infos), key=lambda url: tuple(url.split("/"))
    )

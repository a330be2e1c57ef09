"""Files at URLs: read, looked into, listed, and written whole."""

import errno
import gc
import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from stores import Shelf, contents, location, put, read

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import targets
from gpuquant.images.targets import whole_target
from gpuquant.locations import (
    Location,
    copies,
    files_among,
    is_below,
    joined,
    many,
    places,
    size_of,
)


@pytest.mark.parametrize("place", ["..", "../a", "a/../b", "/a", "a//b", "a/", "", ".", "./a", "a\0"])
def test_nothing_leads_out_of_a_folder(place: str) -> None:
    assert not is_below(place)
    for folder in (Path("out"), location("s3://bucket/out")):
        with pytest.raises(ArgumentError, match="is no place below"):
            joined(folder, place)


def test_places_below_a_folder() -> None:
    for place in ("a", "a/b.png", "..a/b..", "...", "a b", "ä"):
        assert joined(Path("out"), place) == Path("out", place)
        assert str(joined(location("s3://bucket/out"), place)) == f"s3://bucket/out/{place}"
    assert str(joined(location("memory://"), "a/b")) == "memory://a/b"


@pytest.mark.parametrize("url", ["memory://box", "shelf://box"])
@pytest.mark.parametrize("most", [1 << 24, 10])  # bytes in memory: what is larger goes through a file on disk
def test_a_file_is_written_and_read(url: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "IN_MEMORY", most)
    monkeypatch.setattr(places, "IN_MEMORY", most)
    monkeypatch.setattr(copies, "IN_MEMORY", most)
    monkeypatch.setattr(copies, "PART", 7)
    place, data = location(f"{url}/sub/ä b.bin"), bytes(range(256)) * 3
    with whole_target(place) as file:
        file.write(data[:100])
        assert contents(url) == {}
        file.write(data[100:])
    assert contents(url) == {"sub/ä b.bin": data}
    copy = place.copy()
    with copy.path.open("rb") as one, copy.path.open("rb") as other:
        assert one.read(3) == data[:3]
        assert other.read() == data
    assert (place.is_file(), place.size(), place.parent.is_folder()) == (True, len(data), True)
    where = copy.path
    del copy
    gc.collect()
    assert not where.exists()


def write_half(place: Location, error: BaseException) -> None:
    with whole_target(place) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("url", ["memory://box", "shelf://box"])
def test_after_an_error_nothing_is_there(url: str) -> None:
    place = location(f"{url}/a.bin")
    with pytest.raises(KeyboardInterrupt):
        write_half(place, KeyboardInterrupt())
    assert contents(url) == {}
    put(f"{url}/a.bin", b"old")
    with pytest.raises(KeyError):
        write_half(place, KeyError())
    assert contents(url) == {"a.bin": b"old"}


@contextmanager
def small_disk(n_bytes: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


ROOM = r"a temporary file[^;]* in \S+: File too large; make room there, or name another .* \(TMPDIR\)$"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "IN_MEMORY", 0)
    with small_disk(1), pytest.raises(ImageFileError, match=rf"^memory://a cannot be written: {ROOM}"):  # noqa: SIM117
        with whole_target(location("memory://a")) as file:
            file.write(b"123")
    assert contents("memory://") == {}


@pytest.mark.parametrize("url", ["memory://a.bin", "shelf://box/a.bin"])
def test_a_disk_that_fills_up_while_a_file_is_copied(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "IN_MEMORY", 0)
    put(url, b"123")
    with small_disk(1), pytest.raises(ImageFileError, match=rf"^{url} cannot be copied: {ROOM}"):
        location(url).copy()
    assert [what for what, _ in Shelf.asked].count("read") <= 1, "it is not read again"


def test_where_files_show_before_they_are_whole_they_are_renamed(files: dict[str, Any]) -> None:
    put("shelf://box/a.bin", b"old")
    seen: list[str] = []

    def look(what: str, path: str) -> None:
        if what == "write":
            seen.append(path)
            files[path] = io.BytesIO(b"half")
            raise PermissionError("the disk is gone")

    Shelf.fault = look
    words = r"^shelf://box/a.bin cannot be written: access is denied"
    with pytest.raises(ImageFileError, match=words), whole_target(location("shelf://box/a.bin")) as file:
        file.write(b"new")
    (unfinished,) = seen
    assert unfinished.startswith("/box/.gpuquant-")
    Shelf.fault = None
    assert contents("shelf://box") == {"a.bin": b"old"}


@pytest.mark.parametrize("old", [b"old", b"new"])
def test_a_server_that_replaces_no_files_in_silence(old: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HDFS answers a rename to a name that is taken."""
    monkeypatch.setattr(Shelf, "mv", lambda *_, **__: None)
    put("shelf://box/a.bin", old)
    words = r"^shelf://box/a.bin cannot be written: what is there is not replaced; remove it first$"
    with pytest.raises(ImageFileError, match=words), whole_target(location("shelf://box/a.bin")) as file:
        file.write(b"new")
    assert contents("shelf://box") == {"a.bin": old}


def test_a_server_that_refuses_to_replace(files: dict[str, Any]) -> None:
    put("shelf://box/a.bin", b"old")

    def refuse(what: str, path: str) -> None:
        if what == "rename" and path in files:
            raise FileExistsError(errno.EEXIST, "File exists")

    Shelf.fault = refuse
    for name, content in (("a.bin", b"old"), ("b.bin", b"new")):
        refused = pytest.raises(ImageFileError, match=r"a\.bin cannot be written: File exists$")
        with refused if content == b"old" else nullcontext(), whole_target(location(f"shelf://box/{name}")) as file:
            file.write(b"new")
        assert contents("shelf://box")[name] == content
    assert contents("shelf://box").keys() == {"a.bin", "b.bin"}


def test_where_nothing_is_renamed_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Shelf, "mv")
    words = r"^shelf://box/a.bin: shelf:// has no way to replace a file in one step; name another place"
    with pytest.raises(ArgumentError, match=words):
        location("shelf://box/a.bin").check_target()
    with pytest.raises(ArgumentError, match="in one step"), whole_target(location("shelf://box/a.bin")):
        pytest.fail("work begins")


def test_a_file_that_changes_while_it_is_read() -> None:
    put("memory://a.bin", b"123")
    for n_bytes in (2, 4):
        place = Location("memory", "a.bin", n_bytes=n_bytes)
        with pytest.raises(ImageFileError, match=rf"memory://a.bin cannot be read: it had {n_bytes} bytes when"):
            place.copy()
    put("memory://empty", b"")
    assert read(location("memory://empty")) == b""


def test_no_room_for_a_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(copies, "IN_MEMORY", 0)
    put("memory://a.bin", b"1")
    with pytest.raises(ImageFileError, match=r"memory://a.bin cannot be copied: a temp.* of .*, where .*\(TMPDIR\)"):
        Location("memory", "a.bin", n_bytes=1 << 60).copy()


def test_only_blocks_are_read_that_are_asked_for() -> None:
    data = bytes(range(256)) * 4096  # a megabyte
    put("shelf://box/a.bin", data)
    with location("shelf://box/a.bin").open() as file:
        assert file.read(8) == data[:8]
        assert file.seek(0, io.SEEK_END) == len(data)
        file.seek(-12, io.SEEK_END)
        assert file.read() == data[-12:]
        assert file.read(5) == b""
    assert [what for what, _ in Shelf.asked].count("read") == 2
    with location("shelf://box/a.bin").open() as file:
        assert file.read() == data


def test_missing_files_and_folders() -> None:
    put("memory://box/sub/a.bin", b"1")
    missing = location("memory://box/none")
    assert (missing.is_file(), missing.is_folder()) == (False, False)
    for look in (missing.copy, missing.open, missing.size):
        with pytest.raises(ImageFileError, match=r"^memory://box/none: no such file$"):
            look()
    assert (location("memory://box").is_file(), location("memory://box").is_folder()) == (False, True)
    with pytest.raises(ImageFileError, match=r"memory://box/sub is a folder; name a photo in it, or take all"):
        location("memory://box/sub").copy()
    assert list(location("memory://none/").listed(recursive=True)) == []


def test_a_file_and_a_folder_of_the_same_name(files: dict[str, Any]) -> None:
    put("memory://box/a/b.bin", b"1")
    fs, _ = location("memory://box").system()
    put("memory://x", b"22")
    fs.store["/box/a"] = fs.store.pop("/x")  # as S3 allows it
    place = location("memory://box/a")
    assert (place.is_file(), place.is_folder()) == (True, False)
    assert read(place) == b"22"
    assert location("memory://box/a/").is_folder()


def test_listing() -> None:
    for name in ("a.jpg", "sub/b.jpg", "sub/deep/c.jpg", "ä/d.jpg"):
        put(f"memory://box/{name}", b"12")
    put("memory://boxes/e.jpg", b"1")
    assert sorted(location("memory://box/").listed(recursive=False)) == [("a.jpg", 2), ("sub/", None), ("ä/", None)]
    found = dict(location("memory://box").listed(recursive=True))
    assert found == dict.fromkeys(contents("memory://box"), 2)
    assert "box/a.jpg" in dict(location("memory://").listed(recursive=True))


@pytest.mark.parametrize("recursive", [False, True])
def test_a_bucket_that_is_not_there_is_no_empty_folder(recursive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As s3fs says it; of a folder that is not there in a bucket the error has the path alone."""

    def none(_: object, path: str, **__: object) -> None:
        raise FileNotFoundError(said or path)

    monkeypatch.setattr(MemoryFileSystem, "find", none)
    monkeypatch.setattr(MemoryFileSystem, "ls", none)
    said = ""
    assert list(location("memory://The specified bucket/in").listed(recursive=recursive)) == []
    said = "The specified bucket does not exist"
    with pytest.raises(ImageFileError, match=f"^memory://nobucket/in cannot be listed: {said}$"):
        list(location("memory://nobucket/in").listed(recursive=recursive))


@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize("names", [["a", "b", "c"], ["a/b", "a/c", "d/e/f", "g"], ["x/a", "x/b"]])
def test_many_files_are_looked_for_at_once(few: int, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "FEW", few)
    for number, name in enumerate(names):
        if number != 1:
            put(f"shelf://box/{name}", bytes(number + 1))
    put("shelf://box/other", b"1")
    Shelf.asked.clear()
    wanted = [location(f"shelf://box/{name}") for name in names]
    found = files_among(wanted)
    assert {str(place): size_of(place) for place in found.values()} == {
        f"shelf://box/{name}": number + 1 for number, name in enumerate(names) if number != 1
    }
    if not few:
        assert all(what == "find" for what, _ in Shelf.asked)


def test_places_that_can_only_be_read() -> None:
    place = location("https://host/photos/")
    with pytest.raises(
        ArgumentError, match="https://host/photos: folders at https:// cannot be listed; name the files"
    ):
        list(place.listed(recursive=True))
    words = r"https://host/photos/a\.png: https:// can only be read; name another place"
    with pytest.raises(ArgumentError, match=words), whole_target(place / "a.png"):
        pass
    with pytest.raises(ArgumentError, match="can only be read"):
        place.check_writable()


def test_writing_is_tried_and_nothing_is_left() -> None:
    location("memory://box").check_writable()
    assert contents("memory://box") == {}

"""Files that are whole or not there, whatever happens while they are written."""

import errno
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

import gpuquant.whole_file
from gpuquant.errors import ImageFileError
from gpuquant.locations import make_folder
from gpuquant.whole_file import EncoderError, check_place, temporary_file, whole_bytes, whole_file

unnamed_files = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="unnamed files are Linux's")
WAYS = ["unnamed", "no such flag", "EOPNOTSUPP", "EISDIR", "no links"]


def refusal(number: int) -> Callable[..., NoReturn]:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way to write the file: without a name or, where the system refuses something, with a hidden one."""
    if request.param == "no such flag":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "no links":
        monkeypatch.setattr(os, "link", refusal(errno.EXDEV))
    elif request.param != "unnamed":
        monkeypatch.setattr(os, "open", refusal(getattr(errno, request.param)))
    return str(request.param)


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_and_one_over_another(way: str, tmp_path: Path) -> None:
    for content in (b"first", b"next"):
        with whole_file(tmp_path / "a.png") as file:
            file.write(content)
        assert (tmp_path / "a.png").read_bytes() == content
        assert names(tmp_path) == ["a.png"]


@pytest.mark.usefixtures("way")
def test_a_stream_to_read_and_write(tmp_path: Path) -> None:
    with whole_file(str(tmp_path / "a.png")) as file:
        file.write(b"0123456789" * 10_000)
        file.seek(3)
        assert file.read(4) == b"3456"
        file.seek(0)
        file.write(b"x")
        file.truncate(8)
        file.seek(2)
    assert (tmp_path / "a.png").read_bytes() == b"x1234567"


@unnamed_files
def test_there_is_no_name_until_all_is_written(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.png") as file:
        file.write(b"1" * 100_000)
        assert names(tmp_path) == []
        written = os.fstat(file.fileno())
    assert os.path.samestat(written, (tmp_path / "a.png").stat()), "copied, not linked"


@unnamed_files
def test_the_hidden_name_is_given_to_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    linked = []

    def spy(source: str, target: Path, **options: bool) -> None:
        link(source, target, **options)
        linked.append(target.stat().st_size)

    monkeypatch.setattr(os, "link", spy)
    with whole_file(tmp_path / "a.png") as file:
        file.write(b"1" * 100)
    assert linked == [100]


@pytest.mark.parametrize("way", ["no such flag", "EOPNOTSUPP", "EISDIR"], indirect=True)
@pytest.mark.usefixtures("way")
def test_elsewhere_it_has_a_hidden_name(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.png"):
        (name,) = names(tmp_path)
        assert name.startswith(".gpuquant-")
        assert name.endswith(".part")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_permissions_are_those_of_open(umask: int, way: str, tmp_path: Path, set_umask: Callable[[int], int]) -> None:
    set_umask(umask)
    with whole_file(tmp_path / "a.png"):
        pass
    with (tmp_path / "b.png").open("wb"):
        pass
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b.png").stat().st_mode


@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt(), BrokenPipeError(errno.EPIPE, "Broken pipe")], ids=repr
)
@pytest.mark.usefixtures("way")
def test_a_failure_leaves_the_target_alone(error: BaseException, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(type(error)) as caught, whole_file(tmp_path / "a.png") as file:  # noqa: PT012
        file.write(b"new")
        raise error
    assert caught.value is error, "it was no trouble with the file"
    assert names(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


@pytest.mark.usefixtures("way")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(ImageFileError, match=r"a\.png cannot be written: File too large$"):  # noqa: PT012, SIM117
            with whole_file(tmp_path / "a.png") as file:
                file.write(b"1" * 2000)  # less than the buffer: found out only after the last line
                resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


@pytest.mark.usefixtures("way")
def test_places_that_take_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for place, words in (
        ("none/a.png", "No such file or directory"),
        ("file/a.png", "Not a directory"),
        ("folder", "Is a directory"),
    ):
        with pytest.raises(ImageFileError, match=f"{place} cannot be written: {words}$"), whole_file(tmp_path / place):
            pass
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


@unnamed_files
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "over another"])
def test_a_killed_process_leaves_nothing(old: bytes | None, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if old is not None:
        (folder / "a.png").write_bytes(old)
    code = f"""
import time
from gpuquant.whole_file import whole_file
with whole_file({str(folder / "a.png")!r}) as file:
    file.write(bytes(1_000_000))
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert names(folder) == ([] if old is None else ["a.png"])
    assert old is None or (folder / "a.png").read_bytes() == old


def test_an_object_gets_bytes_when_all_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few in memory, and more in a file that has no name."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpuquant.whole_file, "MOST_IN_MEMORY", 1000)
    monkeypatch.setattr(gpuquant.whole_file, "AT_ONCE", 300)
    for n_bytes in (0, 10, 1000, 5000):
        taken = io.BytesIO()
        data = os.urandom(n_bytes)
        with whole_bytes(taken) as file:
            for start in range(0, n_bytes, 100):
                file.write(data[start : start + 100])
            file.seek(0)
            file.write(data[:1])  # as a TIFF writes its beginning at the end
            assert taken.getvalue() == b""
            assert names(tmp_path) == []
        assert taken.getvalue() == data


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), ImageFileError("a photo is damaged"), KeyboardInterrupt(), OSError(errno.EPIPE, "Broken pipe")],
)
def test_an_error_stays_what_it_is(error: BaseException) -> None:
    taken = io.BytesIO()
    with pytest.raises(type(error)) as caught, whole_bytes(taken) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert caught.value is error
    assert taken.getvalue() == b""


def test_no_room_for_bytes_that_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpuquant.whole_file, "MOST_IN_MEMORY", 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    taken = io.BytesIO()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        with (
            pytest.raises(
                ImageFileError, match=f"the file cannot be written: a temporary file in {tmp_path}: File too.*TMPDIR"
            ),
            whole_bytes(taken) as file,
        ):
            file.write(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert taken.getvalue() == b""
    assert names(tmp_path) == []


def test_what_an_encoder_says_has_the_name_of_the_file(tmp_path: Path) -> None:
    for target, name in ((whole_file(tmp_path / "a.png"), "a.png"), (whole_bytes(io.BytesIO()), "the file")):
        with pytest.raises(ImageFileError, match=f"{name} cannot be written: it knows no such mode$"), target:
            raise EncoderError("it knows no such mode")
    assert names(tmp_path) == []


def test_some_room_is_left_by_a_file_whose_length_nobody_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage, free = shutil.disk_usage(tmp_path), iter([1600, 1600, 200, 99])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    with temporary_file("a test takes", folder=tmp_path) as file:
        file.write(b"1" * 1400)
        file.write(b"1" * 101)
        words = (
            rf"^a test takes a temporary file in {tmp_path}, where 99 bytes are free; make room there, or write to an"
        )
        with pytest.raises(ImageFileError, match=words):
            file.write(b"1")


def test_places_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    check_place(tmp_path / "new.png")
    check_place(tmp_path / "file")
    for place, words in (
        ("none/a.png", "No such file or directory"),
        ("file/a.png", "Not a directory"),
        ("folder", "Is a directory"),
    ):
        with pytest.raises(ImageFileError, match=f"{place} cannot be written: {words}$"):
            check_place(tmp_path / place)


def test_a_file_system_that_is_only_read_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked whether it may write, the system says no of both alike."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    for flags, reason in ((os.ST_RDONLY, "Read-only file system"), (0, "Permission denied")):
        monkeypatch.setattr(os, "statvfs", lambda _, flags=flags: SimpleNamespace(f_flag=flags))
        for check, place in ((check_place, tmp_path / "a.png"), (make_folder, tmp_path)):
            with pytest.raises(ImageFileError) as error:
                check(place)
            assert str(error.value) == f"{place} cannot be written: {reason}"

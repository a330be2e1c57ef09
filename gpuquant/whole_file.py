"""Files that are whole or not there."""

import contextlib
import errno
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, TypeGuard

from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError

MOST_IN_MEMORY = 1 << 26  # bytes that wait there for an object to take them: a PNG of some 200 megapixels in 16 colors
AT_ONCE = 1 << 20  # bytes that an object is given


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its name only when all of it is written.

    Until then it has no name at all where the system has such files (Linux, on most file systems), so that nothing of
    it stays behind even when the process is killed; elsewhere it has a hidden name.

    Raises
    ------
    ArgumentError
        The path has characters that no path has.
    ImageFileError
        The file cannot be written.
    """
    path = Path(path)
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # a half of a surrogate pair
        possible = False
    if not possible:
        raise ArgumentError(f"{str(path)!r} is not the path of a file: no path has such characters")
    unfinished = path.with_name(f".gpuquant-{secrets.token_hex(6)}.part")
    try:
        try:
            unnamed = _unnamed_file(path.parent)
            with unnamed or unfinished.open("xb+") as file:
                yield file
                if unnamed:
                    _give_name(unnamed, unfinished)
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from None


def _unnamed_file(folder: Path) -> IO[bytes] | None:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        return os.fdopen(os.open(folder, flag | os.O_RDWR, 0o666), "wb+")
    except OSError:  # the file system has none, or a named file will fail as well and say why
        return None


def _give_name(file: IO[bytes], path: Path) -> None:
    """Name a file that has no name, by a link: it is new, and never replaces a file."""
    file.flush()
    number = file.fileno()
    try:
        # src_dir_fd says nothing beside an absolute path, but without it older Pythons would link the symlink itself
        os.link(f"/proc/self/fd/{number}", path, src_dir_fd=number, follow_symlinks=True)
    except OSError:  # no /proc, or a sandbox without links
        file.seek(0)
        with path.open("xb") as named:
            shutil.copyfileobj(file, named)


class BinaryFile(Protocol):
    """An object that takes bytes."""

    def write(self, data: bytes, /) -> Any:
        """Take bytes, and tell how many, or None for all of them."""


def is_binary_file(file: object) -> TypeGuard[BinaryFile]:
    """True of an object that has `write`.

    Raises
    ------
    ArgumentError
        It takes text.
    """
    if isinstance(file, io.TextIOBase) or (hasattr(file, "write") and hasattr(file, "encoding")):
        raise _takes_text()
    return hasattr(file, "write")


@contextlib.contextmanager
def waiting_file(most: int, name: str) -> Iterator[IO[bytes]]:
    """A temporary file, in memory up to so many bytes, and else on the disk, without a name.

    Raises
    ------
    ImageFileError
        There is no room for it, or what writes to it fails; the message has the name of what it is for.
    """
    waiting = tempfile.SpooledTemporaryFile(most)  # noqa: SIM115
    try:
        yield waiting
    except GpuquantError:
        raise
    except OSError as error:
        if error.errno is None:  # as of encoders
            raise ImageFileError(f"{name} cannot be written: {error}") from None
        advice = "make room there, or name another folder for temporary files (TMPDIR)"
        place = f"a temporary file in {tempfile.gettempdir()}"
        raise ImageFileError(f"{name} cannot be written: {place}: {error.strerror}; {advice}") from None
    finally:
        with contextlib.suppress(OSError):  # what could not be written was told
            waiting.close()


@contextlib.contextmanager
def whole_bytes(file: BinaryFile) -> Iterator[IO[bytes]]:
    """A temporary file, all of which goes to an object when it is written, and nothing before.

    Raises
    ------
    ArgumentError
        The object takes text.
    ImageFileError
        The object takes no bytes, or no more; or there is no room for the temporary file.
    """
    with waiting_file(MOST_IN_MEMORY, "the file") as waiting:
        yield waiting
        waiting.seek(0)
        try:
            while part := waiting.read(AT_ONCE):
                _write_all(file, part)
        except GpuquantError:
            raise
        except io.UnsupportedOperation:
            raise ArgumentError('file is open for reading; open it for writing bytes, with open(path, "wb")') from None
        except (OSError, ValueError) as error:  # ValueError if it is closed
            reason = getattr(error, "strerror", None) or error
            raise ImageFileError(f"the file cannot be written: {reason}") from None


def _write_all(file: BinaryFile, data: bytes) -> None:
    while data:
        try:
            n_taken = file.write(data)
        except TypeError as error:
            raise _takes_text() from error
        if n_taken == 0 or (n_taken is None and isinstance(file, io.RawIOBase)):  # which would have to wait
            raise OSError("it takes no more bytes")
        data = data[n_taken:] if isinstance(n_taken, int) else b""


def _takes_text() -> ArgumentError:
    return ArgumentError('file takes text, but an image is bytes; open it with "wb"')


def check_place(path: str | Path) -> None:
    """Raise, before any work is done, where no file can be written.

    Raises
    ------
    ImageFileError
        There is no such folder, it takes no files, or the path is that of a folder.
    """
    path, number = Path(path), 0
    if path.is_dir():
        number = errno.EISDIR
    elif not path.parent.is_dir():
        number = errno.ENOTDIR if path.parent.exists() else errno.ENOENT
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        number = errno.EACCES
    if number:
        raise ImageFileError(f"{path} cannot be written: {os.strerror(number)}")

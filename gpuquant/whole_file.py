"""Files that are whole or not there; and temporary ones, whose errors tell the way out."""

import contextlib
import errno
import io
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeGuard

from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError, size_in_words

MOST_IN_MEMORY = 1 << 26  # bytes that wait there for an object to take them: a PNG of some 200 megapixels in 16 colors
AT_ONCE = 1 << 20  # bytes that an object is given, or a file
LEFT = 16  # of what is free on a disk one such part is left by files whose length nobody knows
DESCRIPTORS = Path("/proc/self/fd")  # where a file without a name can be opened again


class EncoderError(Exception):
    """An encoder failed; the file that it writes adds its name."""


@contextlib.contextmanager
def told(error_of: Callable[[str], ImageFileError]) -> Iterator[None]:
    """Turn an error of the system into one of ours, which is made of its words."""
    try:
        yield
    except ImageFileError:
        raise
    except OSError as error:
        raise error_of(error.strerror or str(error)) from None


class ToldFile(io.RawIOBase):
    """An open file without a buffer, whose own errors are ours: others, of who writes to it, stay what they are."""

    def __init__(
        self,
        file: Any,
        error_of: Callable[[str], ImageFileError],
        check: Callable[[], object] | None = None,  # made before each write
    ) -> None:
        self._file, self._error_of, self._check = file, error_of, check
        self.name = file.name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._file.fileno()
        return number

    def write(self, data: Any) -> int:
        """All of it: a call of the system writes 2 GB at most, and what there is room for."""
        left = memoryview(data).cast("B")
        with told(self._error_of):
            while left:
                if self._check:
                    self._check()
                left = left[self._file.write(left) :]
        return memoryview(data).nbytes

    def readinto(self, buffer: Any) -> int:
        with told(self._error_of):
            n_read: int = self._file.readinto(buffer)
            return n_read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with told(self._error_of):
            place: int = self._file.seek(offset, whence)
            return place

    def truncate(self, size: int | None = None) -> int:
        with told(self._error_of):
            length: int = self._file.truncate(size)
            return length

    def close(self) -> None:
        super().close()
        with told(self._error_of):
            self._file.close()


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

    def error_of(reason: str) -> ImageFileError:
        return ImageFileError(f"{path} cannot be written: {reason}")

    unfinished = path.with_name(f".gpuquant-{secrets.token_hex(6)}.part")
    try:
        with told(error_of):
            unnamed = _unnamed_file(path.parent)
            opened = unnamed or unfinished.open("xb+", buffering=0)
        with io.BufferedRandom(ToldFile(opened, error_of), AT_ONCE) as file:
            yield file
            if unnamed:
                with told(error_of):
                    _give_name(file, unfinished)
        with told(error_of):
            unfinished.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, EncoderError):
            raise error_of(str(error)) from None
        raise


def _unnamed_file(folder: Path) -> io.FileIO | None:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        return io.FileIO(os.open(folder, flag | os.O_RDWR, 0o666), "wb+")
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


def temporary_file(
    what: str,  # takes it, such as "dithering takes"
    *,
    folder: Path | None = None,  # the system's for temporary files if None
    n_bytes: int | None = None,  # for which there has to be room; None: nobody knows, and some of it is left
    ways_out: Sequence[str] = (),  # beside those that there always are
) -> ToldFile:
    """A temporary file without a buffer, and without a name where it can be opened again without one (Linux).

    Raises
    ------
    ImageFileError
        There is no room for it, or it cannot be made; what goes wrong later is told in the same words.
    """
    place = Path(folder or tempfile.gettempdir())
    elsewhere = "name another folder for temporary files (TMPDIR)" if folder is None else "write to another disk"
    size = "" if n_bytes is None else f" of {size_in_words(n_bytes)}"
    *others, last = ("make room there", elsewhere, *ways_out)

    def error_of(reason: str) -> ImageFileError:
        file = f"{what} a temporary file{size} in {place}{reason}"
        return ImageFileError(f"{file}; {', '.join(others)}, or {last}")

    def check_room(least: int) -> int:
        free = shutil.disk_usage(place).free
        if free < least:
            raise error_of(f", where {size_in_words(free)} are free")
        return free

    def with_reason(reason: str) -> ImageFileError:
        return error_of(f": {reason}")

    with told(with_reason):
        free = check_room(n_bytes or 0)
        file = (tempfile.TemporaryFile if DESCRIPTORS.is_dir() else tempfile.NamedTemporaryFile)(dir=place, buffering=0)
    least_free = free // LEFT if n_bytes is None else 0
    return ToldFile(file, with_reason, (lambda: check_room(least_free)) if least_free else None)


class _Waiting(io.RawIOBase):
    """A file in memory up to so many bytes, and then a temporary one on the disk."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._file: IO[bytes] = io.BytesIO()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if isinstance(self._file, io.BytesIO) and self._file.tell() + memoryview(data).nbytes > self._most:
            on_disk = io.BufferedRandom(temporary_file(self._what), AT_ONCE)
            on_disk.write(self._file.getbuffer())
            on_disk.seek(self._file.tell())
            self._file = on_disk
        return self._file.write(data)

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def readinto(self, buffer: Any) -> int:
        n_read: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        return n_read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        return self._file.truncate(size)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told
            self._file.close()
        super().close()


@contextlib.contextmanager
def waiting_file(most: int, name: str) -> Iterator[IO[bytes]]:
    """A temporary file, in memory up to so many bytes, and else on the disk, without a name.

    Raises
    ------
    ImageFileError
        There is no room for it, or an encoder fails; the message has the name of what it is for.
    """
    with _Waiting(most, f"{name} cannot be written:") as waiting:
        try:
            yield waiting  # type: ignore[misc]
        except EncoderError as error:
            raise ImageFileError(f"{name} cannot be written: {error}") from None


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
    with told(lambda reason: ImageFileError(f"{path} cannot be written: {reason}")):
        if path.is_dir():
            number = errno.EISDIR
        elif not path.parent.is_dir():
            number = errno.ENOTDIR if path.parent.exists() else errno.ENOENT
        if number:
            raise OSError(number, os.strerror(number))
        check_takes_files(path.parent)


def check_takes_files(folder: Path) -> None:
    """Raise the system's error where a folder takes no files."""
    if not os.access(folder, os.W_OK | os.X_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(number, os.strerror(number))

"""Sources of images: a path, bytes, or a file that is open; and the errors when one cannot be read."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Protocol, TypeGuard

from PIL import UnidentifiedImageError

from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.images import heif
from gpuquant.images.guard import TooLargeError
from gpuquant.images.raw import is_raw_photo
from gpuquant.images.room import NoRoomError, takes
from gpuquant.images.words import words_of
from gpuquant.locations import LocalCopy, Location, place_of


class Readable(Protocol):
    """A file that is open for reading bytes, or a stream of them."""

    def read(self, size: int, /) -> bytes | None: ...


ImageSource = str | Path | Location | bytes | bytearray | memoryview | Readable
"""A path or URL, the bytes of an image file, or a file that is open for reading bytes, which is read from its start."""

MOST_BYTES = 1 << 31  # of an open file, which is read into memory; what is larger can be given as a path
AT_ONCE = 1 << 24  # bytes that are read at a time: the length of a stream is not known
KINDS_IN_STRIPS = {"JPEG", "PNG", "TIFF"}
NUMPY = b"\x93NUMPY"
SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}


class Source:
    """A file on disk, or one in memory. Every reader opens it anew, as often as needed.

    Of a file at a URL it has a copy, whose path has nothing to do with the file's name.
    """

    def __init__(self, given: ImageSource) -> None:
        place = place_of(given) if isinstance(given, str | Path | Location) else None
        self._copy: LocalCopy | None = None  # which is there as long as this object is
        self.path: Path | None = None
        if isinstance(place, Location):
            self._copy = place.copy()
            self.path = self._copy.path
        elif place is not None:
            self.path = place
        self.name = name_of(given, "the file")
        self.once = False  # a stream that cannot be read again
        if isinstance(given, bytes):
            self._data = given
        elif isinstance(given, bytearray | memoryview):
            self._data = bytes(given)
        elif not isinstance(given, str | Path | Location):
            self.once = not _goes_back(given)
            self._data = bytes_of(given, self.name)

    def open(self) -> BinaryIO:
        """A file at its start, to be closed."""
        return io.BytesIO(self._data) if self.path is None else self.path.open("rb")

    @contextmanager
    def for_pillow(self) -> Iterator[Path | BinaryIO]:
        """The path, which Pillow may map into memory, or a file: a copy's path is a link that old Pillows resolve."""
        if self.path is not None and self._copy is None:
            yield self.path
        else:
            with self.open() as file:
                yield file

    def n_bytes(self) -> int:
        """The size of the file."""
        return len(self._data) if self.path is None else self.path.stat().st_size


def as_source(given: ImageSource | Source) -> Source:
    """A source as it is, or that of whatever else is given."""
    return given if isinstance(given, Source) else Source(given)


def name_of(image: object, otherwise: str) -> str:
    """Name an image for messages: its path or URL, or the name of an open file."""
    name = getattr(image, "name", None)
    if isinstance(image, str | Path | Location):
        name = str(place_of(image))
    return name if isinstance(name, str) and name else otherwise


def is_source(image: object) -> TypeGuard[ImageSource | Source]:
    """Tell whether an image is a `Source`, or one can be made of it."""
    kinds = Source, str, Path, Location, bytes, bytearray, memoryview
    return isinstance(image, kinds) or callable(getattr(image, "read", None))


def bytes_of(file: Readable, name: str) -> bytes:
    """All bytes of an open file, from its start where it can go back.

    Raises
    ------
    ArgumentError
        It is closed, open for writing, or a file of text.
    ImageFileError
        It cannot be read, or holds more than `MOST_BYTES`.
    """
    if isinstance(file, io.TextIOBase):
        raise ArgumentError('image is a file of text; open it for reading bytes, with open(path, "rb")')
    _goes_back(file)
    try:
        return _all_of(file, name)
    except GpuquantError:
        raise
    except io.UnsupportedOperation:
        raise ArgumentError('image is open for writing; open it for reading bytes, with open(path, "rb")') from None
    except OSError as error:
        raise ImageFileError(f"{name} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # it is closed, for example
        raise ArgumentError(f"image cannot be read: {error}") from None


def _goes_back(file: Readable) -> bool:
    """Go to the start of a file; False where that cannot be: it can be read only once, or reading will fail."""
    try:
        file.seek(0)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _all_of(file: Readable, name: str) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()  # without a copy
    collected = io.BytesIO()
    while part := file.read(min(AT_ONCE, MOST_BYTES + 1 - collected.tell())):
        if isinstance(part, str):
            raise ArgumentError('image is a file of text; open it for reading bytes, with open(path, "rb")')
        collected.write(part)
        if collected.tell() > MOST_BYTES:
            raise ImageFileError(f"{name} has more than {MOST_BYTES >> 30} GiB; store it, and give its path")
    return collected.getvalue()


@contextmanager
def told(source: Source) -> Iterator[None]:
    """Turn all that goes wrong with a file into an error of ours."""
    name = source.name
    try:
        if source.path is not None:
            _check_kind(name, source.path)
        yield
    except TooLargeError as error:
        advice = takes(error.n_pixels, in_strips=_comes_in_strips(source))
        raise NoRoomError(f"{name}: {error}{advice}") from None
    except ArgumentError as error:
        raise ImageFileError(f"{name}: {error}") from None
    except FileNotFoundError:
        is_link = source.path is not None and source.path.is_symlink()
        raise ImageFileError(f"{name} is a symlink to no file" if is_link else f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise ImageFileError(_unidentified(source)) from None
    except ImageFileError:
        raise
    except MemoryError:
        raise NoRoomError(f"{name} does not fit into memory") from None
    except Exception as error:  # what Pillow's decoders raise is not limited, see scripts/fuzz.py
        raise ImageFileError(f"{name} cannot be read: {words_of(error)}") from None


def _check_kind(name: str, path: Path) -> None:
    if path.is_dir():
        listed = os.access(path, os.R_OK | os.X_OK)
        advice = "name a photo in it, or take all of them with quantize_files (gpuquant batch)"
        raise ImageFileError(f"{name} is a folder{f'; {advice}' if listed else ' that cannot be listed'}")
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ImageFileError(f"{name} is not a regular file")


def _comes_in_strips(source: Source) -> bool:
    """True of a file of a kind that can be decoded in strips here."""
    with source.open() as file:
        if file.read(len(NUMPY)) == NUMPY:
            return True
        return _kind_of(file) in KINDS_IN_STRIPS and find_spec("pyvips") is not None


def _unidentified(source: Source) -> str:
    """Say why Pillow does not know a file."""
    with source.open() as file:
        if not file.read(1):
            return f"{source.name} is not an image: it is empty{', or was read before' if source.once else ''}"
        if is_raw_photo(file):
            return f"{source.name} is a raw photo; develop it first, into a TIFF or JPEG"
        missing = heif.missing_reader(file)
        if missing:
            return f"{source.name} is {missing}"
        kind = _kind_of(file)
    if kind:
        return f"{source.name} begins as a {kind} file, but is damaged or of a kind that Pillow cannot read"
    return f"{source.name} is not an image in a format that Pillow can read"


def _kind_of(file: BinaryIO) -> str | None:
    file.seek(0)
    head = file.read(12)
    for letters, name in SIGNATURES.items():
        if head.startswith(letters):
            return name
    return "WebP" if head[:4] == b"RIFF" and head[8:] == b"WEBP" else heif.kind_of(file)

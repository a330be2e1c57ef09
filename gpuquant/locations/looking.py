"""Looks at places: what is there, and what is in it; nobody knows is told apart from nothing is there."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gpuquant.errors import ImageFileError
from gpuquant.locations.places import Location, Place
from gpuquant.whole_file import told


def holds(check: Callable[[], bool]) -> bool:
    """Make a check of a path; False where the system refuses to answer."""
    try:
        return check()
    except (OSError, ValueError):  # too long a name, a folder that cannot be entered, a symlink to itself
        return False


def is_there(place: Place) -> bool:
    """True where something is in a place; also False where the system refuses to answer for a path."""
    return place.is_file() if isinstance(place, Location) else holds(place.exists)


def size_of(place: Place) -> int | None:
    """The bytes of a file, to be told; None where that cannot be found out, which is no trouble with the file."""
    try:
        return place.stat().st_size if isinstance(place, Path) else place.size()
    except OSError:
        return None


def check_file(path: Path) -> None:
    """Raise unless a file can be read there; a pipe would be waited for.

    Raises
    ------
    ImageFileError
        There is none, something else, or the system refuses to answer.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, ValueError):  # no file has such a name
        raise ImageFileError(f"{path}: no such file") from None
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(mode):
        raise ImageFileError(f"{path} is not a regular file")


@contextmanager
def looked_into(place: Place) -> Iterator[BinaryIO | None]:
    """A file to look into; None where there is none, or something else: a pipe would be waited for.

    Raises
    ------
    ImageFileError
        Nobody knows: it, or its folder, cannot be read, or a URL does not answer.
    """
    with told(lambda reason: ImageFileError(f"{place} cannot be read: {reason}")):
        file = _opened(place)
        if file is None:
            yield None
        else:
            with file:
                yield file


def _opened(place: Place) -> BinaryIO | None:
    if isinstance(place, Location):
        return place.open() if place.n_bytes is not None or place.is_file() else None
    try:
        is_file = place.is_file()
    except ValueError:  # no file has such a name
        return None
    return place.open("rb") if is_file else None

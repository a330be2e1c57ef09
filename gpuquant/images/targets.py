"""Targets of images: a path, a URL, or an object that takes bytes."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from gpuquant.locations import IN_MEMORY, Location, place_of
from gpuquant.whole_file import BinaryFile, check_place, waiting_file, whole_bytes, whole_file

ImageTarget = str | Path | Location | BinaryFile
"""A path or URL to write to, or a file object that takes bytes."""


def check_target(target: ImageTarget) -> None:
    """Raise, before any work is done, where nothing can be written, or what a URL needs is not installed.

    At a URL a small file is written beside the target, and removed: nobody else knows.

    Raises
    ------
    ArgumentError
        That kind of URL can only be read, or needs what is not installed.
    ImageFileError
        There is no such folder, it takes no files, or the path is that of a folder; or a URL cannot be written.
    """
    if isinstance(target, str | os.PathLike | Location):
        place = place_of(target)
        if isinstance(place, Location):
            place.check_target()
            place.parent.check_writable()
        else:
            check_place(place)


def whole_target(target: ImageTarget) -> AbstractContextManager[IO[bytes]]:
    """A file to write to, which is at its target when all of it is written, and not before.

    Raises
    ------
    ArgumentError
        The path has characters that no path has, the URL can only be read, or the object takes text.
    ImageFileError
        The file cannot be written.
    """
    if not isinstance(target, str | os.PathLike | Location):
        return whole_bytes(target)
    place = place_of(target)
    return _whole_at_url(place) if isinstance(place, Location) else whole_file(place)


@contextmanager
def _whole_at_url(place: Location) -> Iterator[IO[bytes]]:
    place.check_target()
    with waiting_file(IN_MEMORY, str(place)) as waiting:
        yield waiting
        place.put(waiting)

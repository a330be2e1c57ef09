"""The photo of a command: a file, one at a URL, or as "-" what comes by standard input."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquant.errors import ArgumentError
from gpuquant.locations import Location, Place

if TYPE_CHECKING:
    from gpuquant.images.sources import Source

STANDARD = Path("-")  # input or output


class StandardInput(io.BytesIO):
    """The bytes that came by standard input, for which messages have a name."""

    name = "standard input"


def given_photo(photo: Place) -> "Path | Source | StandardInput":
    """The photo to read: a file, a copy of one at a URL, or all of standard input.

    Raises
    ------
    ArgumentError
        The path has no name, or standard input is a terminal.
    ImageFileError
        Standard input or the URL cannot be read, or holds too much.
    """
    if isinstance(photo, Location):
        from gpuquant.images.sources import Source

        return Source(photo)
    if photo == STANDARD:
        from gpuquant.images.sources import bytes_of

        if sys.stdin is None or sys.stdin.isatty():
            raise ArgumentError("- is standard input, and nothing is sent there; name a photo, or send one: < a.jpg")
        return StandardInput(bytes_of(sys.stdin.buffer, StandardInput.name))
    if not photo.name:
        raise ArgumentError(f"{str(photo)!r} is not a file; name a photo")
    return photo


def name_of_photo(photo: Place) -> str:
    """Name a photo in a line of progress."""
    return StandardInput.name if photo == STANDARD else photo.name

"""The photo of a command: a file, or as "-" what comes by standard input."""

import io
import sys
from pathlib import Path

from gpuquant.errors import ArgumentError

STANDARD = Path("-")  # input or output


class StandardInput(io.BytesIO):
    """The bytes that came by standard input, for which messages have a name."""

    name = "standard input"


def given_photo(photo: Path) -> Path | StandardInput:
    """The photo to read: a file, or all of standard input.

    Raises
    ------
    ArgumentError
        The path has no name, or standard input is a terminal.
    ImageFileError
        Standard input cannot be read, or holds too much.
    """
    if photo == STANDARD:
        from gpuquant.images.sources import bytes_of

        if sys.stdin is None or sys.stdin.isatty():
            raise ArgumentError("- is standard input, and nothing is sent there; name a photo, or send one: < a.jpg")
        return StandardInput(bytes_of(sys.stdin.buffer, StandardInput.name))
    if not photo.name:
        raise ArgumentError(f"{str(photo)!r} is not a file; name a photo")
    return photo


def name_of_photo(photo: Path) -> str:
    """Name a photo in a line of progress."""
    return StandardInput.name if photo == STANDARD else photo.name

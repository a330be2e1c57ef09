"""Palettes read from files as entries, not yet a `Palette`: the ending names the format."""

from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import numpy.typing as npt

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import Location, Place, check_file, is_url, place_of
from gpuquant.palettes.entries import MAX_ENTRIES, checked_shares
from gpuquant.palettes.registry import FORMATS, endings, endings_with_alpha
from gpuquant.tensors import as_numpy

MAX_BYTES = 1 << 23  # of a file: a .css with the longest names has 7 MB; of a PNG the pixels are limited


def is_palette_path(text: str) -> bool:
    """Tell whether a text is a URL, or ends as the name of a palette's file does."""
    return is_url(text) or Path(text).suffix.lower() in FORMATS


def check_palette_format(path: str | Path | Location, n_entries: int = 1) -> str:
    """The ending of a path, in small letters, which names the palette's format.

    Raises
    ------
    ArgumentError
        The ending is unknown, or the format cannot hold so many entries.
    """
    if not isinstance(path, str | Path | Location):
        raise ArgumentError(f"path must be the path of a palette, got {type(path).__name__}")
    path = place_of(path)
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ArgumentError(f"{path}: no palettes are in {ending or 'files without an ending'!r}; use {endings()}")
    if not 1 <= n_entries <= MAX_ENTRIES:
        raise ArgumentError(f"{path}: a palette in a file has from 1 to {MAX_ENTRIES} entries, not {n_entries}")
    most = FORMATS[ending].max_entries
    if most and n_entries > most:
        raise ArgumentError(
            f"{path}: {ending} palettes have at most {most} entries, not {n_entries}; use {endings_with_alpha()}"
        )
    return ending


def read_entries(given: str | Path | Location) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64] | None]:
    """The entries [K, 4] of a palette in a file, and their shares [K] where the file has them.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    ImageFileError
        The file cannot be read, is malformed, or holds no colors or too many.
    """
    form, path = FORMATS[check_palette_format(given)], place_of(given)
    if isinstance(path, Path):
        check_file(path)
    read, shares = resolve_name(form.read), None
    if form.kind == "picture":
        entries = read(path)
    else:
        data = _data_of(path)
        try:
            content = _text_of(data) if form.kind == "text" else data
            found = read(content)
            shares = resolve_name(form.shares)(content) if form.shares else None
        except ImageFileError as error:
            raise ImageFileError(f"{path}: {error}") from None
        entries = np.array(found, np.uint8).reshape(-1, 4)
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ImageFileError(f"{path} holds {len(entries)} colors; a palette has from 1 to {MAX_ENTRIES}")
    try:
        return entries, as_numpy(checked_shares(shares, len(entries)))
    except ArgumentError:  # none, or of something else: they are no part of these formats
        return entries, None


def _data_of(path: Place) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ImageFileError(f"{path} has more than {MAX_BYTES} bytes: it is not a palette")
    return data


def _text_of(data: bytes) -> str:
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, errors="replace")

"""The formats of palettes in files, by the ending: entries, not yet a `Palette`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.adobe_formats import ACT_ENTRIES, read_act, read_ase, write_act, write_ase
from gpuquant.palettes.entries import MAX_ENTRIES, WITH_ALPHA, Entry, PaletteEntries, checked_shares
from gpuquant.palettes.png_format import read_png, write_png
from gpuquant.palettes.text_formats import (
    css_shares,
    json_shares,
    read_css,
    read_gpl,
    read_hex,
    read_json,
    read_txt,
    write_css,
    write_gpl,
    write_hex,
    write_json,
    write_txt,
)
from gpuquant.tensors import as_numpy

MAX_BYTES = 1 << 23  # of a file: a .css with the longest names has 7 MB; of a PNG the pixels are limited


@dataclass(frozen=True)
class TextFormat:
    """A format of text: the writer takes the palette's name, or the prefix of CSS variables."""

    write: Callable[[PaletteEntries, str], str]
    read: Callable[[str], list[Entry]]
    shares: Callable[[str], object] | None = None


@dataclass(frozen=True)
class BinaryFormat:
    """A format of bytes, or of pictures, which are read from their path."""

    write: Callable[[PaletteEntries, str], bytes]
    read: Callable[[bytes], list[Entry]] | None


FORMATS: dict[str, TextFormat | BinaryFormat] = {
    ".hex": TextFormat(write_hex, read_hex),
    ".gpl": TextFormat(write_gpl, read_gpl),
    ".ase": BinaryFormat(write_ase, read_ase),
    ".act": BinaryFormat(write_act, read_act),
    ".txt": TextFormat(write_txt, read_txt),
    ".css": TextFormat(write_css, read_css, css_shares),
    ".json": TextFormat(write_json, read_json, json_shares),
    ".png": BinaryFormat(write_png, None),
}
TEXT_ENDINGS = tuple(ending for ending, form in FORMATS.items() if isinstance(form, TextFormat))
ENDINGS = f"{', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}"


def is_palette_path(text: str) -> bool:
    """Whether a text ends as the name of a palette's file does."""
    return Path(text).suffix.lower() in FORMATS


def check_palette_format(path: str | Path, n_entries: int = 1) -> str:
    """The ending of a path, in small letters, which says what the palette's format is.

    Raises
    ------
    ArgumentError
        The ending is unknown, or the format cannot hold so many entries.
    """
    if not isinstance(path, str | Path):
        raise ArgumentError(f"path must be the path of a palette, got {type(path).__name__}")
    ending = Path(path).suffix.lower()
    if ending not in FORMATS:
        raise ArgumentError(f"{path}: no palettes are in {ending or 'files without an ending'!r}; use {ENDINGS}")
    if not 1 <= n_entries <= MAX_ENTRIES:
        raise ArgumentError(f"{path}: a palette in a file has from 1 to {MAX_ENTRIES} entries, not {n_entries}")
    if ending == ".act" and n_entries > ACT_ENTRIES:
        raise ArgumentError(
            f"{path}: an .act palette has at most {ACT_ENTRIES} entries, not {n_entries}; use {WITH_ALPHA}"
        )
    return ending


def read_entries(path: str | Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64] | None]:
    """The entries [K, 4] of a palette in a file, and their shares [K] where the file has them.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    ImageFileError
        The file cannot be read, is malformed, or holds no colors or too many.
    """
    form = FORMATS[check_palette_format(path)]
    if not os.path.isfile(path):  # noqa: PTH113 - a pipe would be waited for; it answers for names of any length
        there = os.path.exists(path)  # noqa: PTH110
        raise ImageFileError(f"{path} is not a regular file" if there else f"{path}: no such file")
    shares: object = None
    if form.read is None:
        entries = read_png(path)
    else:
        data = _data_of(path)
        try:
            if isinstance(form, TextFormat):
                text = _text_of(data)
                read, shares = form.read(text), form.shares(text) if form.shares else None
            else:
                read = form.read(data)
        except ImageFileError as error:
            raise ImageFileError(f"{path}: {error}") from None
        entries = np.array(read, np.uint8).reshape(-1, 4)
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise ImageFileError(f"{path} holds {len(entries)} colors; a palette has from 1 to {MAX_ENTRIES}")
    try:
        return entries, as_numpy(checked_shares(shares, len(entries)))
    except ArgumentError:  # none, or of something else: they are no part of these formats
        return entries, None


def _data_of(path: str | Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise ImageFileError(f"{path} has more than {MAX_BYTES} bytes: it is not a palette")
    return data


def _text_of(data: bytes) -> str:
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return data.decode(encoding, errors="replace")

"""Whatever may be given as a palette: arrays, lists, texts and paths, as levels of 8 bits."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.arguments import is_integer, is_real
from gpuquant.colors.levels import ROUNDING, kind_of, not_levels, rounded
from gpuquant.errors import ArgumentError
from gpuquant.locations import Location
from gpuquant.palettes.entries import Entry, css_entry, hex_entry
from gpuquant.palettes.formats import is_palette_path, read_entries
from gpuquant.palettes.registry import endings

Levels = npt.NDArray[np.uint8] | Tensor
Shares = npt.NDArray[np.float64]

_WORD = re.compile(r"(?:\([^()]*\)?|[^\s,;(])+")  # of a text of colors: the commas in rgb() do not separate
_LISTS = 'such as ["#ff8000", "white"] or [[255, 128, 0], [255, 255, 255]]'
_SINGLE = "colors must be a list of colors, not of numbers; for a palette of one write [[255, 128, 0]]"


def palette_values(value: object) -> tuple[Levels, Levels | None, Shares | None]:
    """The colors [K, 3] of a palette, alpha [K] if an entry is not opaque, and shares [K] if a file has them.

    Arrays and tensors of uint8 are not copied, and tensors stay on their device.

    Raises
    ------
    ArgumentError
        It is no palette.
    ImageFileError
        It is the path of a palette that cannot be read.
    """
    shares: Shares | None = None
    rows: Levels
    if isinstance(value, Path | Location) or (isinstance(value, str) and is_palette_path(value)):
        rows, shares = read_entries(value)
        return *_parted(rows.copy()), shares
    if isinstance(value, np.ndarray) and value.dtype.kind in "OSUT":
        value = value.tolist()
    if isinstance(value, str):
        rows = np.array([_color_in(word, value) for word in _words_of(value)], np.uint8)
    elif isinstance(value, list | tuple):
        rows = _rows_of(value)
    elif isinstance(value, np.ndarray | Tensor):
        rows = _levels_of(value)
    else:
        given = f'a text such as "#000,#fff", or a path that ends in {endings()}'
        advice = "; of a colormap give cmap(np.linspace(0, 1, 8))" if callable(value) and hasattr(value, "N") else ""
        raise ArgumentError(f"colors must be an array or a list {_LISTS}, {given}, got {type(value).__name__}{advice}")
    return *_parted(rows), shares


def alpha_levels(alpha: object, n_entries: int) -> Levels:
    """Opacity given apart from the colors, uint8 [K].

    Raises
    ------
    ArgumentError
        It is something else than so many integers from 0 to 255.
    """
    wrong = f"alpha must be uint8 [K] = [{n_entries}], from 0 (clear) to 255"
    if isinstance(alpha, list | tuple) and all(map(is_integer, alpha)):
        alpha = np.array(alpha)
    if not isinstance(alpha, np.ndarray | Tensor):
        raise ArgumentError(f"{wrong}, got {type(alpha).__name__}")
    if tuple(alpha.shape) != (n_entries,) or kind_of(alpha) not in ("uint8", "integer"):
        raise ArgumentError(f"{wrong}, got {alpha.dtype} {tuple(alpha.shape)}")
    return _in_range(alpha, "alpha")


def _parted(rows: Levels) -> tuple[Levels, Levels | None]:  # [K, 3 or 4] -> [K, 3], [K]
    """Colors, and alpha unless all entries are opaque."""
    if rows.shape[1] == 3:
        return rows, None
    alpha = rows[:, 3]
    return rows[:, :3], None if bool((alpha == 255).all()) else alpha


def _words_of(text: str) -> list[str]:
    words = _WORD.findall(text)
    if not words:
        raise ArgumentError(f'{text[:40]!r} holds no color; give some such as "#000,#fff"')
    return words


def _color_in(word: str, text: str) -> Entry:
    """The color that a part of a text is."""
    entry = hex_entry(word) or css_entry(word)
    if entry:
        return entry
    if os.path.isfile(text):  # noqa: PTH113 - it answers for any text
        advice = "extract_palette (gpuquant palette) finds that of a photo"
        raise ArgumentError(f"{text} is no palette: the files of palettes end in {endings()}; {advice}")
    part = "" if word == text else f" in {text[:40]!r}"
    ways = f'give a list of colors such as "#000,#fff", or a file that ends in {endings()}'
    raise ArgumentError(f"{word[:40]!r}{part} is not a color; {ways}")


def _rows_of(values: list[Any] | tuple[Any, ...]) -> Levels:  # [K, 3] or [K, 4]
    """Rows of a list of colors, each a text or three or four numbers."""
    if not values:
        raise ArgumentError(f"colors is an empty list; give at least one color, {_LISTS}")
    if all(map(is_real, values)):
        raise ArgumentError(_SINGLE)
    rows = [_row_of(value, place) for place, value in enumerate(values, start=1)]
    numbers = [row for row, value in zip(rows, values, strict=True) if not isinstance(value, str)]
    as_shares = not all(is_integer(level) for row in numbers for level in row)
    most, slack = (1, ROUNDING) if as_shares else (255, 0)
    for place, row in enumerate(rows, start=1):
        if as_shares and isinstance(values[place - 1], str):
            continue
        for wrong in [level for level in row if not -slack <= level <= most + slack]:
            found = f"got {max(min(wrong, 1e9), -1e9):g}"  # integers may have thousands of digits
            expected = "floats are from 0 to 1" if as_shares else "levels are from 0 to 255"
            advice = "; write levels to 255 as integers" if as_shares else ""
            raise ArgumentError(f"color {place}: {expected}, {found}{advice}")
        if as_shares:
            row[:] = [round(255 * level) for level in row]
    return np.array([[*row, 255][:4] for row in rows], np.uint8)


def _row_of(value: object, place: int) -> list[Any]:
    """Three or four numbers."""
    if isinstance(value, str):
        entry = hex_entry(value.strip()) or css_entry(value.strip())
        if not entry:
            raise ArgumentError(f'color {place}: {value[:40]!r} is not a color such as "#ff8000" or "white"')
        return list(entry)
    row = value.tolist() if isinstance(value, np.ndarray | Tensor) and value.ndim == 1 else value
    if isinstance(row, list | tuple) and len(row) in (3, 4) and all(map(is_real, row)):
        return list(row)
    kinds = f"({', '.join(type(one).__name__ for one in row[:5])})" if isinstance(row, list | tuple) else ""
    expected = 'a text such as "#ff8000", or three or four numbers such as (255, 128, 0)'
    raise ArgumentError(f"color {place} must be {expected}, got {kinds or type(value).__name__}")


def _levels_of(values: npt.NDArray[Any] | Tensor) -> Levels:  # [K, 3] or [K, 4]
    """Numbers as levels: integers are levels, and floats shares of 255."""
    if values.ndim == 1 and len(values) in (3, 4):
        raise ArgumentError(_SINGLE)
    if values.ndim != 2 or values.shape[1] not in (3, 4):
        advice = "; extract_palette finds the palette of an image" if values.ndim == 3 else ""
        raise ArgumentError(
            f"colors must be [K, 3], or [K, 4] with alpha, got {values.dtype} {tuple(values.shape)}{advice}"
        )
    kind = kind_of(values)
    if kind == "float":
        return rounded(values, "colors")
    if kind not in ("uint8", "integer"):
        raise not_levels(values, "colors")
    return _in_range(values, "colors")


def _in_range(values: npt.NDArray[Any] | Tensor, name: str) -> Levels:
    """Integers as uint8."""
    if kind_of(values) == "uint8":
        return values
    wide = values.long() if isinstance(values, Tensor) else values  # torch does not compare uint16
    for wrong in wide[(wide < 0) | (wide > 255)][:1].tolist():
        raise ArgumentError(f"{name} must be levels from 0 to 255, got {wrong}")
    return wide.to(torch.uint8) if isinstance(wide, Tensor) else wide.astype(np.uint8)

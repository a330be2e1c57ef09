"""Entries of palettes: colors as levels and as text, and what every format needs of a palette."""

import math
import re
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gpuquant.arguments import is_real
from gpuquant.colors.levels import kind_of
from gpuquant.colors.names import levels_of_name
from gpuquant.errors import ArgumentError
from gpuquant.palettes.registry import endings_with_alpha
from gpuquant.tensors import as_numpy

MAX_ENTRIES = 65_536  # of a palette that is applied or kept in a file: labels have 16 bits
FARTHEST_SUM = 0.01  # from 1, of shares that may have been rounded to a hundredth of a per cent, or to floats
Entry = tuple[int, int, int, int]  # red, green, blue, alpha: 0..255

_HEX = re.compile(r"#?([0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_CSS_HEX = re.compile(r"#([0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)
_CSS_RGB = re.compile(r"rgba?\(([^()]*)\)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)%?")  # no digit in two ways: of millions that takes hours


class PaletteEntries(Protocol):
    """A palette, as formats see it: `gpuquant.palettes.palette.Palette` stands above them."""

    def __len__(self) -> int: ...
    @property
    def rows(self) -> npt.NDArray[np.uint8]: ...  # [K, 3], or [K, 4] with alpha
    @property
    def rgba(self) -> npt.NDArray[np.uint8]: ...  # [K, 4]
    @property
    def hex(self) -> tuple[str, ...]: ...
    @property
    def shares(self) -> npt.NDArray[np.float64] | Tensor | None: ...  # [K]
    def names(self) -> tuple[str, ...]: ...


def hex_entry(text: str) -> Entry | None:
    """The color "rrggbb" or "rrggbbaa", with or without "#"."""
    found = _HEX.fullmatch(text)
    return entry_of_digits(found[1]) if found else None


def css_entry(text: str) -> Entry | None:
    """The color that CSS means by "#rgb", "#rgba", "#rrggbb", "#rrggbbaa", rgb() or a name."""
    digits = _CSS_HEX.fullmatch(text)
    if digits:
        short = len(digits[1]) < 5
        return entry_of_digits("".join(digit * 2 for digit in digits[1]) if short else digits[1])
    levels = levels_of_name(text)
    if levels:
        return levels
    inside = _CSS_RGB.fullmatch(text)
    words = re.split(r"[\s,/]+", inside[1].strip()) if inside else []
    if len(words) not in (3, 4) or not all(_NUMBER.fullmatch(word) for word in words):
        return None
    numbers = [float(word.rstrip("%")) / (100 if word.endswith("%") else 1) for word in words]
    wholes = [1 if word.endswith("%") else 255 for word in words[:3]] + [1]
    shares = [number / whole for number, whole in zip(numbers, wholes, strict=False)]
    if not all(0 <= share <= 1 for share in shares):
        return None
    red, green, blue, alpha = (math.floor(share * 255 + 0.5) for share in [*shares, 1.0][:4])
    return red, green, blue, alpha


def entry_of_digits(digits: str) -> Entry:
    """The color of six or eight hexadecimal digits."""
    red, green, blue, alpha = bytes.fromhex(digits.ljust(8, "f"))
    return red, green, blue, alpha


def refuse_alpha(palette: PaletteEntries, ending: str) -> None:
    """Raise unless all entries are opaque."""
    alpha = palette.rgba[:, 3]
    for number in (alpha < 255).nonzero()[0][:1].tolist():
        found = f"entry {number + 1} has alpha {alpha[number]}"
        raise ArgumentError(f"{ending} palettes hold opaque colors only, and {found}; use {endings_with_alpha()}")


def checked_shares(shares: object, n_entries: int) -> npt.NDArray[np.float64] | Tensor:
    """Shares of pixels as float64 [K], on the device that they are on.

    Raises
    ------
    ArgumentError
        They are not `n_entries` numbers from 0 to 1 that add up to 1.
    """
    wrong = f"shares must be {n_entries} numbers from 0 to 1 that add up to 1, one for each color"
    if isinstance(shares, list | tuple):
        if not all(is_real(share) and 0 <= share <= 1 for share in shares):
            raise ArgumentError(wrong)
        shares = np.array(shares, np.float64)
    if not isinstance(shares, np.ndarray | Tensor):
        raise ArgumentError(f"{wrong}, got {type(shares).__name__}")
    if shares.shape != (n_entries,):
        raise ArgumentError(f"{wrong}, got {tuple(shares.shape)}")
    if kind_of(shares) in ("bool", "other"):
        raise ArgumentError(f"{wrong}, got {shares.dtype}")
    kept = shares.detach().double() if isinstance(shares, Tensor) else shares.astype(np.float64, copy=False)
    values = as_numpy(kept)
    if not n_entries:
        raise ArgumentError("shares are given, but no colors")
    if not ((values >= 0) & (values <= 1)).all() or abs(values.sum() - 1) > FARTHEST_SUM:
        raise ArgumentError(f"{wrong}; got {values.min():g} to {values.max():g}, with the sum {values.sum():g}")
    return kept

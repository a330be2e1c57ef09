"""Palette: the colors of a quantized image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gpuquant.errors import ArgumentError
from gpuquant.locations import Location
from gpuquant.palettes.entries import checked_shares
from gpuquant.tensors import as_numpy

FIRST_SHOWN = 3  # entries in a line


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Palette:
    """sRGB colors; `quantize` puts the most common first.

    Parameters
    ----------
    colors : array, tensor, list, text, path or Palette
        Levels [K, 3] or, with alpha, [K, 4]: integers from 0 to 255, or floats from 0 to 1, rounded to 8 bits. A list
        may also have CSS colors such as "#ff8000", "rgb(255 128 0 / 50%)" and "white"; a text is a list of these,
        "#000,#fff,tomato", or, where it has a palette's ending, the path of a palette, as `read_palette` reads it, or a
        URL. A result stands for its palette. The attribute is uint8 [K, 3].
    alpha : array, tensor or list, integers [K], optional
        Opacity of the entries, 0 (clear) to 255; None is fully opaque.
    shares : array, tensor or list, floats [K], optional
        The entries' shares of the pixels, adding up to 1; None if not known. `quantize`, `apply_palette` and
        `extract_palette` fill them in.

    Raises
    ------
    ArgumentError
        One of them has another type or shape, or numbers out of range.
    ImageFileError
        The file of a palette cannot be read.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> palette = gpuquant.Palette(np.array([[255, 0, 0], [0, 128, 0]], dtype=np.uint8))
    >>> palette.hex, palette.rows.tolist()
    (('#ff0000', '#008000'), [[255, 0, 0], [0, 128, 0]])
    >>> palette.rgba.tolist()
    [[255, 0, 0, 255], [0, 128, 0, 255]]
    >>> gpuquant.Palette("#000, #fff, tomato")
    Palette(3 colors: #000000 #ffffff #ff6347)
    >>> gpuquant.Palette(["red", (0, 128, 0), "#00f8"], shares=[0.5, 0.25, 0.25]).hex
    ('#ff0000ff', '#008000ff', '#0000ff88')
    """

    colors: npt.NDArray[np.uint8] | Tensor
    alpha: npt.NDArray[np.uint8] | Tensor | None
    shares: npt.NDArray[np.float64] | Tensor | None

    def __init__(
        self,
        colors: "PaletteLike",
        alpha: npt.NDArray[Any] | Tensor | Sequence[int] | None = None,
        shares: npt.NDArray[Any] | Tensor | Sequence[float] | None = None,
    ) -> None:
        from gpuquant.palettes.values import alpha_levels, palette_values

        given = getattr(colors, "palette", colors)
        if isinstance(given, Palette):
            levels, own_alpha, own_shares = given.colors, given.alpha, given.shares
        else:
            levels, own_alpha, own_shares = palette_values(colors)
        if alpha is not None and own_alpha is not None:
            raise ArgumentError("alpha is given twice: colors have it, too; leave out one of them")
        object.__setattr__(self, "colors", levels)
        object.__setattr__(self, "alpha", own_alpha if alpha is None else alpha_levels(alpha, len(levels)))
        object.__setattr__(self, "shares", own_shares if shares is None else checked_shares(shares, len(levels)))

    def __len__(self) -> int:
        return len(self.colors)

    @property
    def rows(self) -> npt.NDArray[np.uint8]:  # [K, 3], or [K, 4] with alpha
        """The entries as an array on the host, uint8 [K, 3], or [K, 4] with alpha."""
        colors = as_numpy(self.colors)
        return colors if self.alpha is None else np.column_stack([colors, as_numpy(self.alpha)])

    @property
    def rgba(self) -> npt.NDArray[np.uint8]:  # [K, 4]
        """The entries as an array on the host with their opacity, uint8 [K, 4]."""
        rows = self.rows
        return rows if rows.shape[1] == 4 else np.column_stack([rows, np.full(len(rows), 255, np.uint8)])

    @property
    def hex(self) -> tuple[str, ...]:
        """The entries as CSS colors, "#rrggbb" or, with alpha, "#rrggbbaa"."""
        return tuple("#" + row.tobytes().hex() for row in self.rows)

    def names(self) -> tuple[str, ...]:
        """A name for each entry in plain English, such as "dark brown"; clear entries are "transparent".

        A color that is one of CSS Color Module Level 4 has its name there, in one word, as in "darkslategray"; of two
        names the first in the alphabet ("gray", not "grey"; "aqua", not "cyan"). All others have words with spaces,
        of a list of about 330 names; such names are for people, not for CSS. The nearest name is taken by a distance
        that keeps hue and chroma rather than lightness.

        Entries that differ have names that differ: the next that fits or, where none does, a number ("dark brown 2").
        Equal entries share a name. Entries with some opacity are named by their colors.

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> gpuquant.Palette(np.array([[36, 32, 29], [139, 90, 43], [255, 99, 71]], dtype=np.uint8)).names()
        ('brownish black', 'brown', 'tomato')
        """
        from gpuquant.colors.names import names_of

        return names_of(self.rows)

    def __repr__(self) -> str:
        is_meta = isinstance(self.colors, Tensor) and self.colors.is_meta  # without values
        shown = () if is_meta else self._first(FIRST_SHOWN).hex
        more = " ..." if len(self) > len(shown) > 0 else ""
        return f"Palette({n_colors(len(self))}{': ' * bool(shown)}{' '.join(shown)}{more})"

    def _repr_html_(self) -> str:
        from gpuquant.palettes.html import MOST_SHOWN, palette_html

        first = self._first(MOST_SHOWN)
        names = self.names()[:MOST_SHOWN]  # of all: no two colors have the same
        shares = None if self.shares is None else as_numpy(self.shares[:MOST_SHOWN])
        return palette_html(first.hex, names, shares, len(self) - len(first))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("the rows of a palette are put together: there is no array without a copy; use np.asarray")
        return np.array(self.rows, dtype)

    def _first(self, n_entries: int) -> "Palette":
        """The first entries, so that not all need be fetched from a device."""
        return Palette(self.colors[:n_entries], None if self.alpha is None else self.alpha[:n_entries])


class HasPalette(Protocol):
    """A result, such as `QuantizedImage`, which stands above palettes."""

    @property
    def palette(self) -> Palette: ...


PaletteLike = Palette | HasPalette | str | Path | Location | npt.NDArray[Any] | Tensor | Sequence[Any]
"""The types that `Palette` takes as its colors."""


def shares_of(counts: npt.NDArray[np.int64] | Tensor) -> npt.NDArray[np.float64] | Tensor:  # [K] -> [K]
    """Shares of pixels that add up to 1."""
    if isinstance(counts, Tensor):
        return counts.double() / counts.sum()
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def n_colors(n_entries: int) -> str:
    """A number of colors, in words."""
    return "1 color" if n_entries == 1 else f"{n_entries} colors"

"""Palette: the colors of a quantized image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gpuquant.errors import ArgumentError

MAX_ENTRIES = 65_536  # of a palette that is applied or kept in a file: labels have 16 bits


@dataclass(frozen=True, eq=False)
class Palette:
    """sRGB colors; `quantize` puts the most common first.

    Parameters
    ----------
    colors : array or tensor, uint8 [K, 3]
    alpha : array or tensor, uint8 [K], optional
        Opacity of the entries, 0 (clear) to 255; None is fully opaque.

    Raises
    ------
    ArgumentError
        One of them is not uint8, or has another shape.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> palette = gpuquant.Palette(np.array([[255, 0, 0], [0, 128, 0]], dtype=np.uint8))
    >>> palette.hex, palette.rows.tolist()
    (('#ff0000', '#008000'), [[255, 0, 0], [0, 128, 0]])
    >>> palette.rgba.tolist()
    [[255, 0, 0, 255], [0, 128, 0, 255]]
    """

    colors: npt.NDArray[np.uint8] | Tensor
    alpha: npt.NDArray[np.uint8] | Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.colors, np.ndarray | Tensor):
            raise ArgumentError(f"colors must be an array or tensor, uint8 [K, 3], got {type(self.colors).__name__}")
        if self.colors.ndim != 2 or self.colors.shape[1] != 3 or "uint8" not in str(self.colors.dtype):
            message = f"colors must be uint8 [K, 3], got {self.colors.dtype} {tuple(self.colors.shape)}"
            raise ArgumentError(message)
        if self.alpha is None:
            return
        if tuple(self.alpha.shape) != (len(self.colors),) or "uint8" not in str(self.alpha.dtype):
            found = f"{self.alpha.dtype} {tuple(self.alpha.shape)}"
            raise ArgumentError(f"alpha must be uint8 [K] = [{len(self.colors)}], got {found}")

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
        """The nearest CSS color name of each entry, by the distance in Oklab; clear entries are "transparent".

        Of names of one color the first in the alphabet is taken: "gray", not "grey"; "aqua", not "cyan". The names
        are those of CSS Color Module Level 4; Oklab is that of B. Ottosson 2020, "A perceptual color space for image
        processing".

        Examples
        --------
        >>> import gpuquant, numpy as np
        >>> gpuquant.Palette(np.array([[250, 3, 0], [120, 130, 128]], dtype=np.uint8)).names()
        ('red', 'gray')
        """
        from gpuquant.color_names import names_of

        return names_of(self.rows)


def as_numpy(values: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    """The values as a NumPy array on the host."""
    if isinstance(values, Tensor):
        array: npt.NDArray[Any] = values.cpu().numpy()
        return array
    return values

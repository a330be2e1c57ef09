"""Pixels to count and look up, and their keys worked out in NumPy."""

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Pixels, needs_numba

from gpuquant.ops.pixels import cpu, cpu_tables, reference

both = pytest.mark.parametrize(
    "implementation", [pytest.param(cpu, marks=needs_numba, id="compiled"), pytest.param(reference, id="torch")]
)
gray_or_not = pytest.mark.parametrize("gray", [False, True])


def photo_like(n_pixels: int, *, gray: bool = False, seed: int = 0) -> Pixels:
    """Pixels with many repeated and a few single colors, black and white among them."""
    random = np.random.RandomState(seed)
    shape = (n_pixels,) if gray else (n_pixels, 3)
    pixels = random.normal(128, 30, shape).round().clip(0, 255).astype(np.uint8)
    if n_pixels:
        pixels[random.randint(0, n_pixels, n_pixels // 2)] = pixels[0]
    pixels[: n_pixels // 10] = 0
    pixels[n_pixels - n_pixels // 10 :] = 255
    return pixels


def numpy_keys(pixels: Pixels) -> npt.NDArray[np.int64]:
    """Bit b of red, green and blue at bits 3 b, 3 b + 1 and 3 b + 2."""
    colors = (pixels if pixels.ndim == 2 else np.repeat(pixels[:, None], 3, axis=1)).astype(np.int64)
    keys = np.zeros(len(colors), np.int64)
    for bit in range(8):
        for axis in range(3):
            keys |= (colors[:, axis] >> bit & 1) << (3 * bit + axis)
    return keys


def check_that_tables_are_clean() -> None:
    for tables in cpu_tables.kept_tables._free:
        assert not tables.bins.any()
        assert not tables.marks.any()

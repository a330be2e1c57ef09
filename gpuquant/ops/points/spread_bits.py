"""Levels with their bits spread, as they lie in a key in Z-order; compiled loops use files of `ops` alone."""

from typing import Any

import numpy as np

from gpuquant.ops.compiled import written_out


def _spread(level: int, n_axes: int, axis: int) -> int:
    return sum((level >> bit & 1) << n_axes * bit + axis for bit in range(8))


# Bit b of a level at bit 3 b + axis, or 4 b + axis. Of int32, whose sign has to be extended, counting takes 4 % longer.
SPREAD = np.array([[_spread(level, 3, axis) for level in range(256)] for axis in range(3)], np.uint32)  # [3, 256]
SPREAD_TO_4 = np.array([[_spread(level, 4, axis) for level in range(256)] for axis in range(4)], np.uint32)  # [4, 256]


@written_out
def spread(level: Any) -> Any:
    """Move bit b of a level to bit 3 b, without a table: faster where several are spread at once, slower elsewhere."""
    bits = np.uint32(level)
    bits = (bits | (bits << np.uint32(8))) & np.uint32(0x00F00F)
    bits = (bits | (bits << np.uint32(4))) & np.uint32(0x0C30C3)
    return (bits | (bits << np.uint32(2))) & np.uint32(0x249249)

"""Bits of words of 64, in compiled loops."""

from typing import Any

import numpy as np

from gpuquant.ops.compiled import written_out


@written_out
def ones(word: Any) -> Any:
    """Count the bits that are set: of twos, fours and bytes, whose sum ends up in the highest byte."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@written_out
def lowest_bit(word: Any) -> Any:
    """The number of the lowest bit that is set."""
    return np.uintp(ones((word & (~word + np.uint64(1))) - np.uint64(1)))

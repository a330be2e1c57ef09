"""The masks of ordered dithering: int16 [S, S], each rank once, laid side by side over the photo."""

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt


@cache
def blue_noise() -> npt.NDArray[np.int16]:  # [128, 128], each rank once
    """The ranks that `scripts/make_blue_noise.py` made by the void-and-cluster method."""
    with files("gpuquant.dithering").joinpath("blue_noise.npy").open("rb") as file:
        ranks: npt.NDArray[np.int16] = np.load(file).astype(np.int16)
    return ranks


def bayer(side: int = 16) -> npt.NDArray[np.int16]:  # [side, side], each rank once
    """Bayer's matrix of a side that is a power of two.

    Source: B. E. Bayer 1973, "An optimum method for two-level rendition of continuous-tone pictures".
    """
    ranks = np.zeros((1, 1), np.int16)
    while len(ranks) < side:
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return ranks

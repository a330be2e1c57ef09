"""Make gpuquant/dithering/blue_noise.npy, the threshold mask of dither="blue-noise", in a second.

The void-and-cluster method (R. Ulichney 1993, "The void-and-cluster method for dither array generation", Proc. SPIE
1913): every rank goes to the largest void among the ranks below it, on a torus, so each threshold leaves an even
pattern and copies of the mask fit together. Voids and clusters are extremes of the pattern under a Gaussian.

Example: .venv/bin/python scripts/make_blue_noise.py
"""

from pathlib import Path

if __name__ == "__main__":  # before the imports that take long, or may fail
    from parts.arguments import Arguments

    Arguments(__doc__).parse_args()

import numpy as np
import numpy.typing as npt

SIDE = 128
SIGMA = 1.5  # pixels, as in the paper
SEED = 0
TARGET = Path(__file__).parent.parent / "gpuquant" / "dithering" / "blue_noise.npy"

Numbers = npt.NDArray[np.float64]


class Pattern:
    """Points on a torus, and how crowded it is at each place."""

    def __init__(self, side: int) -> None:
        self.set = np.zeros(side * side, np.bool_)
        self.crowding = np.zeros(side * side)
        apart = np.minimum(np.arange(side), side - np.arange(side))
        bell = np.exp(-(apart[:, None] ** 2 + apart**2) / (2 * SIGMA**2))
        self._bells = np.tile(bell, (2, 2))  # a window of it is the bell around any place
        self._side = side

    def flip(self, place: int) -> None:
        """Set a point, or take it away."""
        row, column = divmod(place, self._side)
        window = self._bells[self._side - row : 2 * self._side - row, self._side - column : 2 * self._side - column]
        self.crowding += window.ravel() if not self.set[place] else -window.ravel()
        self.set[place] = not self.set[place]

    def tightest_cluster(self) -> int:
        return int(np.where(self.set, self.crowding, -np.inf).argmax())

    def largest_void(self) -> int:
        return int(np.where(self.set, np.inf, self.crowding).argmin())


def make_mask(side: int = SIDE, seed: int = SEED) -> npt.NDArray[np.uint16]:  # [side, side], each rank once
    """Rank every place of a torus so that the places below any rank are spread evenly.

    The paper's third phase looks for clusters of places that are not set; that is the largest void again, as the two
    crowdings add up to a constant.
    """
    start = Pattern(side)
    random = np.random.RandomState(seed)
    for place in random.permutation(side * side)[: side * side // 10]:
        start.flip(int(place))
    while True:  # until the point taken from the tightest cluster belongs where it was
        cluster = start.tightest_cluster()
        start.flip(cluster)
        void = start.largest_void()
        start.flip(void)
        if void == cluster:
            break
    n_start = int(start.set.sum())
    ranks = np.empty(side * side, np.uint16)
    pattern = Pattern(side)
    for place in np.flatnonzero(start.set):
        pattern.flip(int(place))
    for rank in range(n_start - 1, -1, -1):
        cluster = pattern.tightest_cluster()
        pattern.flip(cluster)
        ranks[cluster] = rank
    for rank in range(n_start, side * side):
        void = start.largest_void()
        start.flip(void)
        ranks[void] = rank
    return ranks.reshape(side, side)


if __name__ == "__main__":
    np.save(TARGET, make_mask())
    print(f"wrote {TARGET}")

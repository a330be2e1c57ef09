"""PaletteFit: a palette settled on all colors; and Effort: what finding it may cost."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

# A cycle of breathing k-means looks about four times at all points, each time at a few of the centers: about as many as
# the root of their number. So many points times that root take 0.02 s on one core where points are many and dense, 0.06
# on cells, and 0.14 on few of them (measured on photos).
BREATHING_SIZE = 1 << 24


@dataclass(frozen=True)
class Effort:
    """Limits of the work that is spent on a palette.

    Runs of breathing k-means are more the fewer the colors: then each is soon at its end, and costs little.
    """

    max_starts: int  # by k-means++, of which only the best are continued
    max_iter: int  # on all colors
    settle_tol: float  # rounded entries are settled while the error falls by more than this share
    run_colors: int  # in all runs of breathing k-means together, of which there is at least one; the best is taken
    n_cycles: int  # in each of them, where there is time
    is_repeated: bool  # once more from other starts, or from what was found; some of all of it go on to all colors


# Where a number is called measured, it is so on the 24 Kodak and on 12 other photos, in part reduced or full-size.
EFFORTS = {
    "fast": Effort(
        max_starts=1,
        max_iter=1,
        settle_tol=1e-3,
        run_colors=0,
        n_cycles=4,  # measured: 0.1 to 0.4 % less error at K = 16 and 64 than with 3, in 3 to 8 % more time
        is_repeated=False,
    ),
    "default": Effort(
        max_starts=8,
        max_iter=sys.maxsize,
        settle_tol=0,
        run_colors=40,  # measured: 0.2 % less error at K = 24 than with 28, where that makes one run two
        n_cycles=14,  # measured: twice as many save about 0.1 % of the error at K >= 64, in a third more time
        is_repeated=False,
    ),
    "best": Effort(
        max_starts=8,
        max_iter=sys.maxsize,
        settle_tol=0,
        run_colors=40,  # these two are the default's, so that what it finds is a candidate
        n_cycles=14,
        is_repeated=True,
    ),
}


def effort_for(init: str | Tensor, effort: str) -> Effort:
    """Choose the effort: other starts than those of k-means++ have the default one, whatever is asked for."""
    return EFFORTS[effort if isinstance(init, str) and init == "k-means++" else "default"]


@dataclass(frozen=True, eq=False)
class PaletteFit:
    """A palette settled on all colors."""

    palette: Tensor  # [K, 3] uint8, or [K, 4] with alpha, on the host
    labels: Tensor  # [M] int32, where the colors are
    counts: Tensor  # [K] int64, on the host: of pixels, or their weights
    error: float  # sum over these of the squared distance to the palette entry, in the space of the search
    inertia: float
    n_iter: int
    converged: bool


def lossless(colors: Tensor, counts: Tensor) -> PaletteFit:
    """All colors as entries."""
    labels = torch.arange(len(colors), dtype=torch.int32, device=colors.device)
    return PaletteFit(colors.cpu(), labels, counts.cpu(), error=0.0, inertia=0.0, n_iter=0, converged=True)

"""PaletteFit: a palette settled on all colors; and Effort: what finding it may cost."""

import math
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

# a cycle of breathing k-means takes about as long as so many Lloyd iterations, and these grow with the colors and with
# the root of the number of centers, as a few of these are near each color (measured)
BREATHING_SIZE = 1 << 27  # of colors times that root, over all cycles of one kind: larger problems are searched less


@dataclass(frozen=True)
class Effort:
    """Limits of the work that is spent on a palette."""

    max_starts: int  # of which only the best is continued
    max_levels: int  # of coarse cells on which Lloyd's algorithm runs
    coarse_tol: float  # times as large as on all colors: the iterations that follow make up for it (measured)
    max_iter: int  # on all colors
    settle_tol: float  # rounded entries are settled while the error falls by more than this share
    n_cycles: tuple[int, ...]  # of breathing k-means; what is found after each number of them is a candidate

    def within(self, n_cycles: int, n_points: int, n_colors: int) -> int:
        """The cycles that a problem of this size leaves time for."""
        return min(n_cycles, int(BREATHING_SIZE / (n_points * math.sqrt(n_colors))))


EFFORTS = {
    "fast": Effort(4, 2, 8, 1, 1e-3, (1,)),
    "default": Effort(8, 2, 8, sys.maxsize, 0, (6,)),
    "best": Effort(8, 2, 8, sys.maxsize, 0, (6, 18)),
}


def effort_for(init: str | Tensor, effort: str) -> Effort:
    """Choose the effort: other starts than those of k-means++ have the default one, whatever is asked for."""
    return EFFORTS[effort if isinstance(init, str) and init == "k-means++" else "default"]


@dataclass(frozen=True, eq=False)
class PaletteFit:
    """A palette settled on all colors."""

    palette: Tensor  # [K, 3] uint8, or [K, 4] with alpha
    labels: Tensor  # [M] int32
    counts: Tensor  # [K] int64: of pixels, or their weights
    error: float  # sum over these of the squared distance to the palette entry, in the space of the search
    inertia: float
    n_iter: int
    converged: bool


def lossless(colors: Tensor, counts: Tensor) -> PaletteFit:
    """All colors as entries."""
    labels = torch.arange(len(colors), dtype=torch.int32, device=colors.device)
    return PaletteFit(colors, labels, counts, error=0.0, inertia=0.0, n_iter=0, converged=True)

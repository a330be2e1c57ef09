"""PaletteFit: a palette settled on all colors; and Effort: what finding it may cost."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

# A cycle of breathing k-means looks about ten times at all points, each time at a few of the centers: about as many as
# the root of their number. So much of that takes a tenth of a second on one core (measured).
BREATHING_SIZE = 1 << 23
FEW_COLORS = 12  # for so many there are twice as many cycles as for very many, as they cost less (measured)


@dataclass(frozen=True)
class Effort:
    """Limits of the work that is spent on a palette."""

    max_starts: int  # of which only the best is continued
    max_levels: int  # of coarse cells on which Lloyd's algorithm runs
    coarse_tol: float  # times as large as on all colors: the iterations that follow make up for it (measured)
    max_iter: int  # on all colors
    settle_tol: float  # rounded entries are settled while the error falls by more than this share
    n_cycles: tuple[int, ...]  # of breathing k-means; what is found after each number of them is a candidate

    def cycles(self, n_colors: int) -> list[int]:
        """The numbers of cycles for a number of colors: with few a cycle costs little, and changes little."""
        return [round(number * (1 + FEW_COLORS / n_colors)) for number in self.n_cycles]


# measured on 24 Kodak and 10 other photos, beside twice and half as many of everything
EFFORTS = {
    "fast": Effort(4, 2, 8, 1, 1e-3, (1,)),
    "default": Effort(8, 2, 8, sys.maxsize, 0, (6,)),
    "best": Effort(8, 2, 8, sys.maxsize, 0, (6, 12)),
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

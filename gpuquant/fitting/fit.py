"""PaletteFit: a palette settled on all colors; and Effort: what finding it may cost."""

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

BREATHING_CELLS = 5  # for each color: fewer tell the colors apart too little (measured on china.jpg)


BREATHING_PAIRS = 3 << 23  # of cell and center, over all cycles: larger problems are searched less


@dataclass(frozen=True)
class Effort:
    """Limits of the work that is spent on a palette."""

    max_starts: int  # of which only the best is continued
    max_levels: int  # of coarse cells on which Lloyd's algorithm runs
    coarse_tol: float  # times as large as on all colors: the iterations that follow make up for it (measured)
    max_iter: int  # on all colors
    settle_tol: float  # rounded entries are settled while the error falls by more than this share
    n_cycles: int  # of breathing k-means

    def cycles(self, n_cells: int, n_colors: int) -> int:
        """The cycles that a problem of this size leaves time for; none where cells hardly tell the colors apart."""
        at_most = BREATHING_PAIRS // (n_cells * n_colors)
        return min(self.n_cycles, at_most) if n_cells >= BREATHING_CELLS * n_colors else 0


EFFORTS = {
    "fast": Effort(1, 1, 64, 1, 1e-3, 0),
    "default": Effort(8, 2, 8, sys.maxsize, 0, 0),
    "best": Effort(8, 2, 8, sys.maxsize, 0, 64),
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

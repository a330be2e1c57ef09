"""Emulations of dithering."""

from types import SimpleNamespace

import torch

from gpuquant.ops.dithering.reference import choose_entries
from played.emulations import Grid, emulates


@emulates("choose_entries_kernel")
def choose(grid: Grid, a: SimpleNamespace) -> None:
    assert a.n_blocks == len(a.pixels) * a.per_row
    numbers = a.numbers.view(torch.uint16) if a.numbers.dtype == torch.int16 else a.numbers
    labels = a.labels.view(torch.uint16) if a.labels.dtype == torch.int16 else a.labels
    counts, error = choose_entries(a.top, a.pixels, numbers, a.mixtures, a.palette, a.mask, labels)
    a.totals[:-1] += counts
    a.totals[-1] += error

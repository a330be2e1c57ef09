"""Constants of compiled loops that are copies, as Numba's cache sees no other file: they are those of the originals."""

import torch

from gpuquant.colors.codes import z_order
from gpuquant.ops.lloyd import colors, cpu_dense, cpu_kernels
from gpuquant.ops.lloyd.run_status import RunStatus
from gpuquant.ops.points import cpu_cells, cpu_coarse, cpu_order
from gpuquant.ops.points.colors import ORIGIN, STEP_BITS, STEPS

COLUMNS = ["START", "NEXT", "DEPTH"]  # of a tree's cells


def test_the_grid_of_centers_is_the_same() -> None:
    assert cpu_kernels.ORIGIN == cpu_cells.ORIGIN == ORIGIN
    assert (cpu_cells.STEPS, cpu_cells.STEP_BITS) == (STEPS, STEP_BITS)
    assert cpu_order.STEP_BITS == cpu_coarse.STEP_BITS == STEP_BITS
    assert cpu_kernels.GRID == 1 << colors.CENTER_BITS
    assert cpu_kernels.SCALE == 1 << (2 * colors.CENTER_BITS + colors.INDEX_BITS)
    assert cpu_kernels.INDEX_MASK == colors.MAX_CLUSTERS - 1


def test_runs_have_the_same_status() -> None:
    for module in (cpu_kernels, cpu_dense):
        assert [getattr(module, status.name) for status in RunStatus] == list(RunStatus)


def test_columns_are_the_same() -> None:
    copies, originals = ([getattr(module, name) for name in COLUMNS] for module in (cpu_kernels, cpu_cells))
    assert copies == originals


def test_levels_are_spread_as_in_z_order() -> None:
    reds = torch.zeros(256, 3, dtype=torch.uint8)
    reds[:, 0] = torch.arange(256)
    for module in (cpu_cells, cpu_order):
        assert module._SPREAD[0].tolist() == z_order(reds).tolist()
        assert module._SPREAD[1].tolist() == z_order(torch.nn.functional.pad(reds, (0, 1))).tolist()

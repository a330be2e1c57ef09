"""Operations on points: the contract of each operation, and which implementation runs.

| operation | CPU | CUDA |
| --- | --- | --- |
| Lloyd steps on 8-bit colors with counts | `lloyd/cpu`: Numba | `lloyd/cuda_colors` on `lloyd/cuda_color_steps` |
| cells of colors | `points/cpu_cells`, `points/cpu_coarse`: Numba | `points/cuda` |
| colors sorted | `points/cpu_order`: Numba | `points/colors` |
| seeding on 8-bit colors with counts | `seeding/cpu`: Numba | `seeding/cuda` |
| Lloyd steps and seeding on colors in steps of 1/256 | as on 8-bit colors | as on floating-point points, by Triton |
| Lloyd steps on floating-point points | `lloyd/cpu_dense`: Numba | `lloyd/cuda` |
| labels of samples alone | `lloyd/cpu_labels`: Numba | Lloyd steps |
| breathing k-means | `lloyd/cpu_grid`: Numba | `lloyd/cuda_grid` on 8-bit colors, others on the CPU |
| seeding on floating-point points | `seeding/cpu_dense`: Numba | `seeding/cuda` |
| k-means++ that draws pixels | `seeding/cpu`: Numba | `seeding/cuda_pixels` |

Where there is no Triton, and for points with more than four columns, plain torch does the work on CUDA devices too;
where there is no Numba, on the CPU: `reference` and `reference_dense` in each folder.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gpuquant.ops import compiled, kernel_choice
from gpuquant.ops.lloyd import reference_grid
from gpuquant.ops.lloyd.colors import ColorLloyd
from gpuquant.ops.lloyd.dense import DenseLloyd
from gpuquant.ops.lloyd.device_grid import DeviceGrid
from gpuquant.ops.lloyd.grid_state import GridState
from gpuquant.ops.lloyd.reference import ReferenceLloyd
from gpuquant.ops.points import color_cells
from gpuquant.ops.points.colors import STEPS, ColorPoints, levels_of, z_keys
from gpuquant.ops.points.dense_points import DensePoints
from gpuquant.ops.seeding import reference as seeding_reference
from gpuquant.ops.seeding import reference_dense as seeding_reference_dense
from gpuquant.threads import share_out, worker_threads

SEEDED = 64  # steps of colors that are one for k-means++: squared distances then take 22 bits

PointSet = ColorPoints | DensePoints
Lloyd = ColorLloyd | DenseLloyd


def point_set(
    points: Tensor,  # [B, N, D] uint8 colors (D = 3) or int16 steps (D = 3 or 4), float32 or float64
    weights: Tensor,  # [B, N] float64; integers for colors
    *,
    chunk_size: int | None = None,  # bounds the scores of floating-point points to 64 numbers for each unit
    is_sorted: bool = False,  # of colors: they are known to be in Z-order
    moments: Tensor | None = None,  # [B, D + 2] float64, of colors: see `ColorPoints`, which works them out otherwise
) -> PointSet:
    """Prepare B problems for seeding and Lloyd steps: exact and pruned for colors, chunk by chunk for others."""
    if points.dtype == torch.int16 and kernel_choice.kernels_for(points):
        points = levels_of(points)
    if points.is_floating_point():
        return DensePoints(points, weights, chunk_size)
    return _color_points(points)(points, weights, is_sorted=is_sorted, moments=moments)


def _color_points(colors: Tensor) -> type[ColorPoints]:  # [B, M, D] uint8 or int16
    if not compiled.runs_for(colors) or kernel_choice.kernels_for(colors):
        return ColorPoints
    from gpuquant.ops.points.cpu_cells import ColorCells

    return ColorCells


def in_z_order(
    colors: Tensor,  # [M, D] uint8 or int16
) -> Tensor:  # [M] int64
    """The places of colors in Z-order, those of equal whole levels in their order."""
    if not compiled.runs_for(colors):
        return z_keys(colors[None])[0].argsort(stable=True)
    from gpuquant.ops.points import cpu_order

    return cpu_order.in_z_order(colors)


def coarsen(
    colors: Tensor,  # [M, D] uint8, or int16: steps; in Z-order
    counts: Tensor,  # [M] int64
    cell_bits: Sequence[int],  # bits of a level that are kept, descending: cells have side 2^(8 - bits)
) -> list[color_cells.CoarseColors]:
    """Fold counted colors to coarser and coarser cells; the color of a cell is the rounded mean of its pixels."""
    kernels = kernel_choice.kernels_for(colors)
    if kernels and colors.dtype == torch.uint8:
        found: list[color_cells.CoarseColors] = kernels.coarsen(colors, counts, cell_bits)
        return found
    if not compiled.runs_for(colors):
        return color_cells.coarsen(colors, counts, cell_bits)
    from gpuquant.ops.points import cpu_coarse

    return cpu_coarse.coarsen(colors, counts, cell_bits)


def lloyd_steps(points: PointSet, n_clusters: int, n_runs: int = 1) -> Lloyd:
    """An object whose `step(centers, active)` labels all points and sums up the clusters of each active run.

    There are P = B x n_runs runs, and run r works on problem r // n_runs.
    """
    if isinstance(points, DensePoints):
        return DenseLloyd(points, n_clusters, n_runs)
    kernels = kernel_choice.kernels_for(points.weights)
    if kernels:
        state: ColorLloyd = kernels.KernelColorLloyd(points, n_clusters, n_runs)
        return state
    if compiled.runs_for(points.weights):
        from gpuquant.ops.lloyd.cpu import CompiledLloyd
        from gpuquant.ops.points.cpu_cells import ColorCells

        if isinstance(points, ColorCells):
            return CompiledLloyd(points, n_clusters, n_runs)
    return ReferenceLloyd(points, n_clusters, n_runs)


def label_samples(
    samples: Tensor,  # [N, D] float32, float64 or uint8, contiguous
    centers: Tensor,  # [K, D], taken as the samples' type holds them
) -> Tensor | None:  # [N] int32
    """Find the nearest center of each sample as scikit-learn does, the first of equal ones, in one pass over them.

    None where a Lloyd step has to: of more columns or centers, where no loops run, or where a sample is not finite.
    """
    if not compiled.runs_for(samples):
        return None
    from gpuquant.ops.lloyd import cpu_labels

    if samples.shape[1] > cpu_labels.MAX_COLUMNS or len(centers) > cpu_labels.MAX_CLUSTERS:
        return None
    held = centers.to(torch.float32 if samples.dtype == torch.float32 else torch.float64)
    return cpu_labels.label_samples(samples, held.double().contiguous())


class GridPoints(Protocol):
    """Points with weights for breathing k-means, rounded to a grid of a quarter level, on which nothing else rounds."""

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        most_added: int,  # centers, in any later cycle
    ) -> GridState:
        """Repeat Lloyd steps from given centers."""

    def breathed(
        self,
        state: GridState,  # nothing of it is lost, but other ones of these points can go on no more
        chosen: npt.NDArray[np.int64],  # [n]: clusters to split
    ) -> GridState:
        """Split clusters, remove as many centers, and repeat Lloyd steps after each change."""


def grid_points(
    points: Tensor,  # [N, 3] uint8, neighbors close together; or [N, 3] or [N, 4] int16 (steps), or float64 levels
    weights: Tensor,  # [N], whole numbers
) -> GridPoints | DeviceGrid:
    """Prepare points for cycles of breathing k-means."""
    kernels = kernel_choice.kernels_for(points)
    if kernels and points.dtype == torch.uint8:
        return DeviceGrid(points.contiguous(), weights.long().contiguous(), kernels.breathe, _cycle_by_cycle)
    return _cycle_by_cycle(levels_of(points) if points.dtype == torch.int16 else points, weights)


def _cycle_by_cycle(points: Tensor, weights: Tensor) -> GridPoints:
    if points.is_cuda and compiled.has_numba():  # a cycle is some 300 operations of torch, one after the other
        weights, points = _to_host(weights, points)  # in this order all numbers are aligned
    made: GridPoints = _grid_module(points).GridPoints(points, weights)
    return made


def _to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors of one device to the host together: it waits once."""
    in_bytes = [one.contiguous().view(-1).view(torch.uint8) for one in tensors]
    together = torch.cat(in_bytes).cpu()
    parts = together.split([len(one) for one in in_bytes])
    return [part.view(one.dtype).view(one.shape) for part, one in zip(parts, tensors, strict=True)]


def _grid_module(points: Tensor) -> ModuleType:
    if not compiled.runs_for(points):
        return reference_grid
    from gpuquant.ops.lloyd import cpu_grid

    return cpu_grid


def choose_centers(
    points: PointSet,
    n_clusters: int,
    uniforms: npt.NDArray[np.float64],  # [P, 1 + L (K - 1)] in [0, 1)
    n_candidates: int,  # L
    n_runs: int = 1,
    *,
    least: Sequence[float] = (),  # [B] or []: the potential below which a run adds no more centers
) -> tuple[Tensor, list[float]]:  # [P, K, D] float64; [P]
    """Choose centers by greedy k-means++; the potentials that the runs reach.

    Of a problem that needs no more some centers are missing: 0 is in their place. Where kernels choose them, the
    centers are on the CPU.
    """
    limits = least or [0.0] * points.n_problems
    kernels = kernel_choice.kernels_for(points.weights)
    if kernels and points.n_columns <= kernels.MAX_COLUMNS:
        rows = points.colors if isinstance(points, ColorPoints) else points.points
        seeding = kernels.KernelSeeding(rows.contiguous(), points.weights.contiguous(), n_runs)
        chosen, reached = seeding.choose(n_clusters, uniforms, n_candidates, limits)
        return torch.from_numpy(chosen), reached
    unit, n_workers = 1.0, 1
    if isinstance(points, ColorPoints):
        choose, rows = _seeding_module(points.weights).choose_colors, points.colors
        if rows.dtype != torch.uint8:
            rows, unit = rows // SEEDED, (SEEDED / STEPS) ** 2
    else:
        choose, rows = _dense_seeding_module(points.weights).choose_points, points.points
        n_workers = worker_threads() if points.n_problems > 1 and points.weights.is_cpu else 1
    found: dict[int, tuple[npt.NDArray[np.int64], list[float]]] = {}
    shares = np.split(uniforms, points.n_problems)

    def choose_in(problem: int) -> None:
        given = rows[problem], points.weights[problem], shares[problem]
        found[problem] = choose(*given, n_candidates, n_clusters, limits[problem] / unit)

    share_out(range(points.n_problems), choose_in, n_workers)
    index = [torch.from_numpy(found[problem][0]).to(rows.device) for problem in range(points.n_problems)]
    found_there = [points.points_at(problem, some) for problem, some in enumerate(index)]
    centers = [functional.pad(some, (0, 0, 0, n_clusters - some.shape[1])) for some in found_there]
    return torch.cat(centers), [reached * unit for problem in sorted(found) for reached in found[problem][1]]


def _seeding_module(weights: Tensor) -> ModuleType:
    if not compiled.runs_for(weights):
        return seeding_reference
    from gpuquant.ops.seeding import cpu as seeding_cpu

    return seeding_cpu


def _dense_seeding_module(weights: Tensor) -> ModuleType:
    if not compiled.runs_for(weights):
        return seeding_reference_dense
    from gpuquant.ops.seeding import cpu_dense as seeding_cpu_dense

    return seeding_cpu_dense


class PixelDraws(Protocol):
    """Draws of pixels with probability proportional to a value of their color, in the order of the pixels."""

    def draw(
        self,
        values: Tensor,  # [M]: whole numbers that are not negative
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the colors of the drawn pixels
        """Draw one pixel for each uniform number by the running sum of weight times value, rounded chunk by chunk."""

    def totals(self) -> Tensor:  # [M] float64
        """The summed weights of each color."""


def choose_among_pixels(
    colors: Tensor,  # [M, D] uint8, neighbors close together
    totals: Tensor,  # [M] float64: the summed weights of the pixels of each color
    ranks: Tensor,  # [N] int32: the color of each pixel
    weights: Tensor | None,  # [N] float64; None: all are 1
    first: int,  # the color of the first center
    uniforms: npt.NDArray[np.float64],  # [K - 1, L] in [0, 1)
    pixels: Callable[[], PixelDraws],  # called where kernels do not draw
) -> Tensor:  # [K] int64, indices of colors
    """k-means++ that draws pixels in their order: wholly on the device where kernels do it."""
    kernels = kernel_choice.kernels_for(ranks)
    if kernels:
        chosen: Tensor = kernels.choose_pixels(colors, totals, ranks, weights, first, uniforms)[0]
        return chosen
    drawing, seeding = pixels(), _seeding_module(totals).ColorSeeding(colors, totals)
    added = [seeding.add_best([first])]
    added += [seeding.add_best(drawing.draw(seeding.closest(), tried)) for tried in uniforms]
    return torch.tensor(added, device=ranks.device)

"""Estimated times on an H200, in microseconds: of the host for each thing it asks for, and of the device for it.

Costs see the arguments as the emulation of the kernel has left them, with the steps that it says were made.

A kernel takes as long as its instructions or its bytes, whichever is more. Beside what was measured on one H200 (copies
and, by others, launches) all of this is arithmetic, off by 40 % either way.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import torch
from torch import Tensor

from gpuquant.ops.lloyd import cuda_color_steps as color_steps
from played.record import Event

OPERATION_US, VIEW_US, WAIT_US = 5.5, 1.0, 12.0  # of the host
LAUNCH_US, JIT_US = 4.0, 15.0  # of a compiled kernel, and through the JIT's Python, which binds its arguments anew
MEETING_US = 1.5  # of all programs: an addition by each in the second cache, and a look there (not measured)
LEAST_US = 3.0  # of the device for the smallest kernel
BYTES_US = 4.3e6  # read plus written: measured
PROCESSORS, MHZ = 132, 1755
SLOTS_US = PROCESSORS * 4 * MHZ * 0.6  # instructions of a warp: four schedulers each, and the share that is reached
CYCLES = 4  # from an instruction to the next one of a warp that nothing else hides
ATOMICS_US = 1e5  # of different addresses
ROW_BYTES_US = 2e4  # of one row of a running sum over rows, which one block goes along: 1.2 ms for 1.5 million int64
PASSES = {"aten::sort": 6, "aten::sort.stable": 6, "aten::argsort": 6, "aten::nonzero": 2, "aten::index.Tensor": 2,
          "aten::gather": 2, "aten::index_select": 2, "aten::_unique2": 8, "aten::cumsum": 2}  # fmt: skip

Grid = tuple[int, int, int]
Work = tuple[float, float, float]  # instructions of warps, bytes, and microseconds that nothing shortens
PRESENT = 0.5  # of the centers in reach of a tile that are the nearest ones of some color in it


def event_us(event: Event) -> float:
    """The time of an event: the host goes on while the device works, so that the longer of both counts."""
    host = {"operation": OPERATION_US, "view": VIEW_US, "wait": WAIT_US, "launch": JIT_US}[event.kind]
    if event.is_direct:
        host = LAUNCH_US
    return max(host, event.device_us)


def operation_us(name: str, tensors: Iterable[Tensor]) -> float:
    """The device's time for an operation of torch."""
    given = list(tensors)
    if name == "aten::cumsum" and given and given[-1].ndim > 1:
        return 2 * given[-1].shape[-1] * given[-1].element_size() / ROW_BYTES_US
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in given)
    return LEAST_US + PASSES.get(name, 1) * n_bytes / BYTES_US


def device_us(name: str, grid: Grid, a: SimpleNamespace) -> float:
    """The device's time for a launch, of which fewer programs than processors use as many."""
    n_instructions, n_bytes, fixed = WORK[name](grid, a)
    share = min(1.0, grid[0] * grid[1] / PROCESSORS)
    return LEAST_US + fixed + max(n_instructions / (share * SLOTS_US), n_bytes / BYTES_US)


def _serial_us(n_instructions: float) -> float:
    """The time of instructions of one warp for which all others wait."""
    return n_instructions * CYCLES / MHZ


def _blocks(n_items: int, size: int) -> int:
    return -(-n_items // size)


# Instructions below are those of a warp, by the SASS for sm_90, times the warps of a program.


def _probe(grid: Grid, a: SimpleNamespace) -> Work:
    return 0.0, 4.0, 0.0


def _count(grid: Grid, a: SimpleNamespace) -> Work:
    return 1480.0 * grid[0], a.pixels.numel(), a.n_pixels / 2 / ATOMICS_US


def _lookup(grid: Grid, a: SimpleNamespace) -> Work:
    return 272.0 * 4 * grid[0], a.pixels.numel() + 2 * a.labels.numel() * a.labels.element_size(), 0.0


def _keys(grid: Grid, a: SimpleNamespace) -> Work:
    return 290.0 * 4 * grid[0], 7.0 * a.n_colors, 0.0


def _fill(grid: Grid, a: SimpleNamespace) -> Work:
    """Each value is written in a sector of 32 bytes, at most: those of neighbors may share one."""
    return 290.0 * 4 * grid[0], a.n_colors * (a.COLUMNS + a.values.element_size() + 32.0), 0.0


def _sum_cells(grid: Grid, a: SimpleNamespace) -> Work:
    """Ten additions where a cell or a tile ends."""
    n_cells = int((a.colors.view(-1, 3)[1:] >> 8 - a.bits != a.colors.view(-1, 3)[:-1] >> 8 - a.bits).any(dim=1).sum())
    return 2813.0 * 4 * grid[0], 14.0 * a.n_colors, 10 * (n_cells + grid[0]) / ATOMICS_US


def _cells(grid: Grid, a: SimpleNamespace, base: int, of_each: int) -> Work:
    """Tiles beyond the cells of a size do nothing; a cell is read as all the smallest in it."""
    n_instructions = 0.0
    for level in range(grid[1]):
        n_adjacent = 1 << 3 * (a.finest - (a.packed >> 4 * level & 15))
        n_instructions += 8 * (base + of_each * n_adjacent) * _blocks((1 << 3 * a.finest) // n_adjacent, a.TILE)
    return n_instructions, 8.0 * a.sums.numel() * grid[1], 0.0


def _measure_cells(grid: Grid, a: SimpleNamespace) -> Work:
    return _cells(grid, a, 2200, 130)


def _list_cells(grid: Grid, a: SimpleNamespace) -> Work:
    return _cells(grid, a, 1470, 110)


def _color_step(grid: Grid, a: SimpleNamespace) -> Work:
    """Tiles list the centers in reach, look at all of them, and add up a share of these; then one program moves."""
    n_tiles, size, n_warps = _blocks(a.n_colors, a.TILE), _blocks(a.n_clusters, 32), color_steps.OPTIONS["num_warps"]
    centers = a.state[0, : 3 * a.n_clusters].view(-1, 3).float()
    n_near = _near(a.colors[0].float() - 128, centers, a.TILE) if a.n_made else 0.0
    a_step = n_tiles * (650 + 73 * size) + n_near * (98 + PRESENT * 100)
    moving = _serial_us((58 + 83 + 289 + 606) * size) if a.n_made else 0.0
    return n_warps * a.n_made * a_step, a.n_made * a.n_colors * (3.0 + 8 + 4), moving * -(-a.n_made // grid[1])


def _near(levels: Tensor, centers: Tensor, size: int) -> float:
    """The centers that are not out of reach of the boxes around tiles of some size, all together."""
    n_tiles = _blocks(len(levels), size)
    levels = torch.cat([levels, levels[-1:].expand(n_tiles * size - len(levels), -1)]).view(n_tiles, size, 3)
    low, high = levels.aminmax(dim=1)
    low, high = low[:, None], high[:, None]
    close = torch.maximum(low - centers, centers - high).clamp_(min=0).square_().sum(dim=2)
    far = torch.maximum(centers - low, high - centers).square_().sum(dim=2)
    return float((close <= far.amin(dim=1, keepdim=True)).sum())


def _breathe(grid: Grid, a: SimpleNamespace) -> Work:
    """Programs share out tiles and partners, all work out what clusters do, and one merges while the others wait.

    A cycle has eight meetings, and four passes over all points. Seven partners are looked for when ten clusters merge.
    """
    n_lanes, n_tiles = _blocks(a.LANES, 256), _blocks(a.n_points, a.TILE)
    near = _near(a.points.float(), a.found.float(), a.TILE) / n_tiles
    a_tile = 360 + 4 * (850 + 14 * near)
    a_cycle = 400 + 1600 * n_lanes + _blocks(n_tiles, grid[0]) * a_tile
    partners = (330 + 110 * (n_lanes - 1)) * sum(_blocks(a.n_clusters + int(n), grid[0]) for n in a.n_added)
    merging = (900 + 400 * (n_lanes - 1)) * sum(a.n_added)
    serial = _serial_us((a.n_cycles + 1) * a_cycle + partners + merging)
    atomics = 5 * a.n_points * (a.n_cycles + 1) / ATOMICS_US
    return 0.0, (a.n_cycles + 1) * 80.0 * a.n_points, serial + atomics + MEETING_US * (4 + 8 * a.n_cycles)


def _step(grid: Grid, a: SimpleNamespace) -> Work:
    """A pair of point and center is some ten instructions; of float64 each takes two turns."""
    going = int((a.status.view(-1)[a.runs] == 0).sum())
    pairs = going * a.n_points * a.n_clusters / 32
    a_pair = (8 if a.SINGLE else 20) + (0 if a.SCATTER else 31)
    atomics = going * a.n_points * (a.D + 1) if a.SCATTER else 0
    n_bytes = going * a.n_points * (a.points.element_size() * a.D + 8 + 2 * a.labels.element_size())
    return pairs * a_pair, n_bytes, atomics / ATOMICS_US


def _add_parts(grid: Grid, a: SimpleNamespace) -> Work:
    going = int((a.status.view(-1)[a.runs] == 0).sum())
    return 0.0, 8.0 * going * a.n_sums * a.n_parts, 2.0


def _move(_: Grid, a: SimpleNamespace) -> Work:
    return 0.0, 0.0, 2.0 + 2 * -(-a.n_clusters // a.CLUSTERS)


def _inertia(grid: Grid, a: SimpleNamespace) -> Work:
    n_points = grid[1] * a.n_points
    return 185.0 * 4 * n_points / a.BLOCK, n_points * (a.points.element_size() * a.D + 8.0 + 4), 0.0


def _drawing(a: SimpleNamespace, n_parts: int, n_chunks: int) -> float:
    """Every program adds up the sums of all, and looks for the part, the chunk and the point of each candidate."""
    per_part = _blocks(n_chunks, n_parts)
    found = 570 * _blocks(n_parts, a.PARTS) + 120 * _blocks(per_part, a.WIDTH) + 155 * _blocks(a.CHUNK, a.WIDTH)
    return 350.0 + found


def _choose_centers(grid: Grid, a: SimpleNamespace) -> Work:
    """A block of all distances to as many candidates as fit is 725 instructions, and all programs meet once a step.

    The runs of a column of the grid are made one after the other, and those of different columns at the same time.
    """
    n_chunks, n_steps = _blocks(a.n_points, a.CHUNK), sum(a.n_made)
    n_blocks = _blocks(_blocks(n_chunks, grid[0]) * a.CHUNK, a.BLOCK)
    a_step = grid[0] * (_drawing(a, grid[0], n_chunks) + n_blocks * 725 * a.LANES * a.BLOCK / 4096)
    n_bytes = a.n_points * (a.D * a.points.element_size() + 24.0)
    n_meetings = max(sum(a.n_made[column :: grid[1]]) for column in range(grid[1]))
    return 8 * n_steps * a_step, n_steps * n_bytes, MEETING_US * n_meetings


def _try_pixels(grid: Grid, a: SimpleNamespace) -> Work:
    """Points are few, pixels many: these are only drawn from."""
    drawing = 0.0 if a.n_known else _drawing(a, a.n_draw_parts, _blocks(a.n_pixels, a.CHUNK))
    n_chunks = _blocks(a.n_points, a.CHUNK)
    return 8 * (grid[0] * drawing + n_chunks * (55 + 89 * a.n_candidates)), a.n_points * (a.D + 16.0), 0.0


def _add_best(grid: Grid, a: SimpleNamespace) -> Work:
    a_program, n_chunks = 130 + 60 * _blocks(grid[0], a.PARTS), _blocks(a.n_points, a.CHUNK)
    return 4.0 * (grid[0] * a_program + 136 * n_chunks), a.n_points * (a.D + 16.0), 0.0


def _sum_shares(grid: Grid, a: SimpleNamespace) -> Work:
    """Closest distances are read one by one, a sector each, most of them from a cache."""
    n_bytes = a.n_pixels * (4 + 8 + (8.0 if a.WEIGHTED else 0.0))
    return 4.0 * (76 * grid[0] + 97 * _blocks(a.n_pixels, a.CHUNK)), n_bytes, 0.0


def _choose_entries(grid: Grid, a: SimpleNamespace) -> Work:
    n_pixels = a.labels.numel()
    return 1635.0 * a.n_blocks, n_pixels * (a.COLUMNS + a.numbers.element_size() + a.labels.element_size() + 40.0), 0.0


WORK: dict[str, Callable[[Grid, SimpleNamespace], Work]] = {
    "probe_kernel": _probe,
    "count_colors_kernel": _count,
    "apply_lookup_kernel": _lookup,
    "fill_lookup_kernel": _fill,
    "keys_from_colors_kernel": _keys,
    "colors_from_keys_kernel": _keys,
    "sum_cells_kernel": _sum_cells,
    "measure_cells_kernel": _measure_cells,
    "list_cells_kernel": _list_cells,
    "color_step_kernel": _color_step,
    "breathe_kernel": _breathe,
    "lloyd_step_kernel": _step,
    "add_parts_kernel": _add_parts,
    "move_centers_kernel": _move,
    "inertia_kernel": _inertia,
    "choose_centers_kernel": _choose_centers,
    "try_pixels_kernel": _try_pixels,
    "add_best_kernel": _add_best,
    "sum_shares_kernel": _sum_shares,
    "choose_entries_kernel": _choose_entries,
}

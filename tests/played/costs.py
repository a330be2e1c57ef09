"""Estimated times on an H200, in microseconds: of the host for each thing it asks for, and of the device for it.

A kernel takes as long as its instructions or its bytes, whichever is more. Beside what was measured on one H200 (copies
and, by others, launches) all of this is arithmetic, off by 40 % either way.
"""

from collections.abc import Callable, Iterable
from types import SimpleNamespace

from torch import Tensor

from played.record import Event

OPERATION_US, VIEW_US, WAIT_US = 5.5, 1.0, 12.0  # of the host
LAUNCH_US, JIT_US = 4.0, 15.0  # of a compiled kernel, and through the JIT's Python, which binds its arguments anew
LEAST_US = 3.0  # of the device for the smallest kernel
BYTES_US = 4.3e6  # read plus written: measured
SLOTS_US = 132 * 4 * 1755 * 0.6  # instructions of a warp: processors, schedulers, MHz, and the share that is reached
ATOMICS_US = 1e5  # of different addresses
ROW_BYTES_US = 2e4  # of one row of a running sum over rows, which one block goes along: 1.2 ms for 1.5 million int64
PASSES = {"aten::sort": 6, "aten::sort.stable": 6, "aten::argsort": 6, "aten::nonzero": 2, "aten::index.Tensor": 2,
          "aten::gather": 2, "aten::index_select": 2, "aten::_unique2": 8, "aten::cumsum": 2}  # fmt: skip

Grid = tuple[int, int, int]
Work = tuple[float, float, float]  # instructions of warps, bytes, and microseconds that nothing shortens

COUNT_INSTRUCTIONS, LOOKUP_INSTRUCTIONS, CHOICE_INSTRUCTIONS = (
    1480,
    4 * 272,
    2272,
)  # of all warps of a program, by their SASS for sm_90


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
    """The device's time for a launch."""
    n_instructions, n_bytes, fixed = WORK[name](grid, a) if name in WORK else (0.0, 0.0, 0.0)
    return LEAST_US + fixed + max(n_instructions / SLOTS_US, n_bytes / BYTES_US)


def _count(grid: Grid, a: SimpleNamespace) -> Work:
    return COUNT_INSTRUCTIONS * grid[0], a.pixels.numel(), a.n_pixels / 2 / ATOMICS_US


def _lookup(grid: Grid, a: SimpleNamespace) -> Work:
    return LOOKUP_INSTRUCTIONS * grid[0], a.pixels.numel() + 2 * a.labels.numel() * a.labels.element_size(), 0.0


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


def _try(grid: Grid, a: SimpleNamespace) -> Work:
    """Every program adds up the sums of all and draws, some microseconds, before its own points."""
    n_points = grid[1] * a.n_points
    return n_points / 32 * a.n_candidates * 20, n_points * (4.0 * a.D + 16), 4.0


def _add_best(grid: Grid, a: SimpleNamespace) -> Work:
    n_points = grid[1] * a.n_points
    return n_points / 32 * 40, n_points * (4.0 * a.D + 24), 2.0


def _choose_entries(grid: Grid, a: SimpleNamespace) -> Work:
    n_pixels = a.labels.numel()
    return (
        CHOICE_INSTRUCTIONS * grid[0],
        n_pixels * (a.COLUMNS + a.numbers.element_size() + a.labels.element_size() + 40.0),
        0.0,
    )


WORK: dict[str, Callable[[Grid, SimpleNamespace], Work]] = {
    "count_colors_kernel": _count,
    "apply_lookup_kernel": _lookup,
    "lloyd_step_kernel": _step,
    "add_parts_kernel": _add_parts,
    "move_centers_kernel": _move,
    "try_candidates_kernel": _try,
    "add_best_kernel": _add_best,
    "choose_entries_kernel": _choose_entries,
}

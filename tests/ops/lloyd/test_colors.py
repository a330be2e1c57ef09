"""Lloyd iterations on colors, compiled and in plain torch, against brute force in NumPy's float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.colors.codes import z_order
from gpuquant.ops import RunStatus
from gpuquant.ops.lloyd import cpu, reference
from gpuquant.ops.lloyd.colors import ColorLloyd
from gpuquant.ops.points import cpu_cells
from gpuquant.ops.points.colors import ORIGIN, ColorPoints
from gpuquant.ops.points.cpu_cells import ColorCells

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Make = Callable[..., ColorLloyd]

PACES = [(1.0, 0.0), (1.5, 0.6), (1.0, 0.6)]


def compiled(colors: Pixels, counts: Counts, n_clusters: int, n_runs: int = 1) -> ColorLloyd:
    return cpu.CompiledLloyd(ColorCells(torch.from_numpy(colors), torch.from_numpy(counts)), n_clusters, n_runs)


def plain(colors: Pixels, counts: Counts, n_clusters: int, n_runs: int = 1) -> ColorLloyd:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(reference.SCORES_AT_ONCE, "cpu", 8_000)
        return reference.ReferenceLloyd(
            ColorPoints(torch.from_numpy(colors), torch.from_numpy(counts)), n_clusters, n_runs
        )


def shared(colors: Pixels, counts: Counts, n_clusters: int, n_runs: int = 1) -> ColorLloyd:
    """Three threads share the cells of each step, which are smaller than they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "SHARED", 0)
        patch.setattr(cpu, "worker_threads", lambda: 3)
        patch.setattr(cpu_cells, "LEAF", 5)
        state = compiled(colors, counts, n_clusters, n_runs)
    assert isinstance(state, cpu.CompiledLloyd)
    assert state._n_threads == 3
    return state


IMPLEMENTATIONS = pytest.mark.parametrize(
    "make", [pytest.param(compiled, marks=needs_numba), pytest.param(shared, marks=needs_numba), plain]
)


def colors_of(kind: str, n_colors: int, seed: int = 0) -> Pixels:
    random = np.random.RandomState(seed)
    if kind == "uniform":
        return random.randint(0, 256, (n_colors, 3)).astype(np.uint8)
    if kind == "line":
        return np.repeat(random.randint(0, 256, (n_colors, 1)), 3, axis=1).astype(np.uint8)
    if kind == "flat":
        return np.full((n_colors, 3), 77, np.uint8)
    if kind.endswith("columns"):  # steps, some of them equal, in a cloud that leaves much room, and at its ends
        n_columns = int(kind[0])
        steps = random.normal(0, 9000, (n_colors, n_columns))[random.randint(0, n_colors, n_colors)]
        steps[::7] = np.round(steps[::7] / 2**8) * 2**8
        return np.rint(steps).clip(-(2**15), 2**15 - 256).astype(np.int16)
    blobs = random.randint(0, 256, (6, 3))[random.randint(0, 6, n_colors)] + random.normal(0, 4, (n_colors, 3))
    blobs[: n_colors // 50 + 1] = random.randint(0, 256, (n_colors // 50 + 1, 3))  # outliers
    return blobs.clip(0, 255).astype(np.uint8)


def nearest(colors: Pixels, centers: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Brute force in float64; exact here, as centers are multiples of 2^-10. argmin takes the lowest on a tie."""
    levels = colors.astype(np.float64) if colors.dtype == np.uint8 else colors / 256 + ORIGIN
    apart = np.square(levels[:, None] - centers).sum(axis=2)
    return apart.argmin(axis=1), apart.min(axis=1)


def sums_of(colors: Pixels, counts: Counts, labels: npt.NDArray[np.int64], n_clusters: int) -> tuple[Floats, Floats]:
    """The weighted sums of shifted levels and of weights over each label."""
    shifted = colors.astype(np.float64) - ORIGIN if colors.dtype == np.uint8 else colors / 256
    sums = np.stack([np.bincount(labels, counts * column, n_clusters) for column in shifted.T], axis=1)
    return sums.astype(np.float64), np.bincount(labels, counts, n_clusters).astype(np.float64)


def walk(state: ColorLloyd, n_clusters: int, random: np.random.RandomState) -> list[Floats]:
    """Centers that move a little, a lot, one of them far, and stay."""
    centers = random.uniform(0, 255, (n_clusters, state.points.n_columns))
    steps = [centers]
    for scale in (0.01, 0.2, 0.2, 0.0, 3.0, 0.1, 60.0, 0.5):
        centers = (centers + random.normal(0, 1, centers.shape) * scale).clip(0, 255)
        steps.append(centers)
    jump = centers.copy()
    jump[-1] = 255 - jump[-1]
    steps += [jump, jump + 0.25, np.round(jump)]  # at integers exact ties are common
    return [state.leave(state.enter(torch.from_numpy(step))).numpy() for step in steps]


@IMPLEMENTATIONS
@pytest.mark.parametrize("kind", ["uniform", "blobs", "line", "flat", "3 columns", "4 columns"])
@pytest.mark.parametrize("n_clusters", [1, 2, 17, 300])
@pytest.mark.parametrize("n_colors", [1, 129, 3000])
def test_every_step_finds_the_nearest_centers(make: Make, kind: str, n_clusters: int, n_colors: int) -> None:
    random = np.random.RandomState(1)
    colors, counts = colors_of(kind, n_colors), random.randint(0, 1000, n_colors)
    counts[0] = 1
    state = make(colors[None], counts[None], n_clusters)
    labels = np.full(n_colors, -1)
    for centers in walk(state, n_clusters, random):
        entered = state.enter(torch.from_numpy(centers)[None])
        sums, weights, n_changed = state.step(entered, [0])
        before = labels
        labels, distances = nearest(colors, centers)
        np.testing.assert_array_equal(state.labels_of_points()[0].numpy(), labels)
        expected = sums_of(colors, counts, labels, n_clusters)
        np.testing.assert_array_equal(sums[0].numpy(), expected[0])
        np.testing.assert_array_equal(weights[0].numpy(), expected[1])
        assert n_changed == state.changed([0]) == [((labels != before) & (counts > 0)).sum()]
        assert state.inertia(entered) == [pytest.approx(math.fsum(distances * counts), rel=1e-12)]


COLORS = st.lists(st.tuples(*[st.sampled_from([0, 1, 2, 127, 128, 255])] * 3), min_size=1, max_size=40)
CENTERS = st.lists(st.tuples(*[st.integers(0, 510)] * 3), min_size=1, max_size=12)  # half levels: ties


@IMPLEMENTATIONS
@settings(max_examples=50)
@given(colors=COLORS, steps=st.lists(CENTERS, min_size=1, max_size=3))
def test_ties_go_to_the_lowest_center(make: Make, colors: list[Any], steps: list[list[Any]]) -> None:
    levels = np.array(colors, np.uint8)
    n_clusters = min(len(step) for step in steps)
    state = make(levels[None], np.ones((1, len(levels)), np.int64), n_clusters)
    for step in steps:
        centers = np.array(step[:n_clusters]) / 2
        state.step(state.enter(torch.from_numpy(centers)[None]), [0])
        np.testing.assert_array_equal(state.labels_of_points()[0].numpy(), nearest(levels, centers)[0])


@IMPLEMENTATIONS
def test_as_many_centers_as_can_be_at_two_places(make: Make) -> None:
    """No box tells 4095 centers at one place apart."""
    colors = colors_of("uniform", 9000)
    state = make(colors[None], np.ones((1, 9000), np.int64), 4096)
    centers = np.full((4096, 3), 100.0)
    centers[4000] = [10.0, 20.0, 30.0]
    for _ in range(2):
        state.step(state.enter(torch.from_numpy(centers)[None]), [0])
        expected = np.where(nearest(colors, centers[[0, 4000]])[0] == 1, 4000, 0)
        np.testing.assert_array_equal(state.labels_of_points()[0].numpy(), expected)


@IMPLEMENTATIONS
def test_runs_and_problems_of_a_batch_are_those_of_each_alone(make: Make) -> None:
    """Two problems, two runs on each, some of them resting for a step."""
    random = np.random.RandomState(6)
    colors = np.stack([colors_of("blobs", 1500), colors_of("uniform", 1500)])
    counts = random.randint(0, 9, (2, 1500))
    batch = make(colors, counts, 20, 2)
    centers = batch.leave(batch.enter(torch.from_numpy(random.uniform(0, 255, (4, 20, 3)))))
    expected = np.full((4, 1500), -1)
    for active in ([0, 1, 2, 3], [0, 1, 2, 3], [1, 2], [3], [0, 3]):
        moved = centers[active] + torch.from_numpy(random.normal(0, 2, (len(active), 20, 3)))
        centers[active] = batch.leave(batch.enter(moved))
        sums, weights, n_changed = batch.step(batch.enter(moved), active)
        for place, run in enumerate(active):
            labels, _ = nearest(colors[run // 2], centers[run].numpy())
            assert n_changed[place] == ((labels != expected[run]) & (counts[run // 2] > 0)).sum()
            expected[run] = labels
            totals = sums_of(colors[run // 2], counts[run // 2], labels, 20)
            np.testing.assert_array_equal(sums[place].numpy(), totals[0])
            np.testing.assert_array_equal(weights[place].numpy(), totals[1])
        np.testing.assert_array_equal(batch.labels_of_points().numpy(), expected)
    for run in range(4):
        np.testing.assert_array_equal(batch.labels_of_run(run).numpy(), expected[run])


class ByHand:
    """One run of Lloyd's algorithm: all distances, and the rules of `iterate` as they are written there."""

    def __init__(self, colors: Pixels, counts: Counts, centers: Floats) -> None:
        self.colors, self.counts, self.centers = colors, counts, centers  # shifted
        self.moves, self.labels = np.zeros_like(centers), np.full(len(colors), -1)
        self.n_iter, self.status = 0, RunStatus.GOING

    def advance(self, max_iter: int, limit: float, relaxation: float, momentum: float) -> None:
        labels, _ = nearest(self.colors, self.centers + ORIGIN)
        n_changed = int(((labels != self.labels) & (self.counts > 0)).sum())
        self.labels = labels
        sums, weights = sums_of(self.colors, self.counts, labels, len(self.centers))
        if (weights == 0).any():
            self.status = RunStatus.EMPTY
            return
        self.n_iter += 1
        means = self.snap(sums * (1 / weights)[:, None])
        shifts = means - self.centers
        squared = float(np.square(shifts).sum())
        onward = ((shifts * self.moves).sum(axis=1) > 0)[:, None]
        new = self.snap(self.centers + relaxation * shifts + momentum * self.moves * onward)
        if n_changed == 0 and squared == 0:
            self.status = RunStatus.STILL
        elif squared <= limit or (n_changed == 0 and relaxation == 1):
            self.status = RunStatus.CLOSE
        elif self.n_iter == max_iter:
            self.status = RunStatus.OUT_OF_TIME
        if self.status != RunStatus.GOING or n_changed == 0:
            new = means
        self.centers, self.moves = new, new - self.centers

    @staticmethod
    def snap(centers: Floats) -> Floats:
        snapped: Floats = np.rint(centers.clip(-128, 127) * 1024) / 1024
        return snapped


@IMPLEMENTATIONS
@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("max_iter", [1, 6, 300])
@pytest.mark.parametrize("n_steps", [1, 4, 1 << 30])
def test_iterations_are_those_by_hand(make: Make, pace: tuple[float, float], max_iter: int, n_steps: int) -> None:
    """Runs that end at different times and for different reasons, some with an empty cluster; cut into pieces."""
    random = np.random.RandomState(5)
    colors = np.stack([colors_of("blobs", 700), colors_of("uniform", 700)])
    counts = random.randint(0, 9, (2, 700))
    state = make(colors, counts, 9, 3)
    starts = [colors[run // 3, counts[run // 3] > 5][100 * run % 7 :][::25][:9] for run in range(6)]
    centers = state.enter(torch.from_numpy(np.stack(starts)))
    centers[1, 3:] = 127.0
    limits = np.array([-1.0, 0.0, 60.0, 0.0, -1.0, 1e9])
    expected = [ByHand(colors[run // 3], counts[run // 3], centers[run].numpy().copy()) for run in range(6)]
    expected[3].status = RunStatus.CLOSE  # this one rests
    moves, n_iter = torch.zeros_like(centers), torch.zeros(6, dtype=torch.int32)
    status = torch.tensor([run.status.value for run in expected], dtype=torch.int32)
    rules: dict[str, Any] = {"max_iter": max_iter, "relaxation": pace[0], "momentum": pace[1], "n_steps": n_steps}
    for _ in range(300):
        stands = state.iterate(centers, moves, n_iter, status, torch.from_numpy(limits), **rules)
        for run, limit in zip(expected, limits, strict=True):
            for _ in range(n_steps):
                if run.status != RunStatus.GOING:
                    break
                run.advance(max_iter, limit, *pace)
        assert stands == status.tolist() == [run.status for run in expected]
        assert n_iter.tolist() == [run.n_iter for run in expected]
        np.testing.assert_array_equal(centers.numpy(), np.stack([run.centers for run in expected]))
        np.testing.assert_array_equal(moves.numpy(), np.stack([run.moves for run in expected]))
        np.testing.assert_array_equal(state.labels[0].numpy(), in_z_order(colors[0], expected[0].labels))
        if RunStatus.GOING not in stands:
            break
    assert stands[3] == RunStatus.CLOSE
    assert RunStatus.GOING not in stands
    assert max_iter < 300 or {RunStatus.STILL, RunStatus.CLOSE, RunStatus.EMPTY} == set(stands)
    going = [run for run in range(6) if run != 3]
    for place, sums, weights in zip(going, *state.sums_of(going), strict=True):
        by_hand = sums_of(colors[place // 3], counts[place // 3], expected[place].labels, 9)
        np.testing.assert_array_equal(sums.numpy(), by_hand[0])
        np.testing.assert_array_equal(weights.numpy(), by_hand[1])


def in_z_order(colors: Pixels, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return values[np.argsort(z_order(torch.from_numpy(colors)).numpy(), kind="stable")]


@needs_numba
def test_small_runs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads take runs; the steps of each are done in calls of a few."""
    monkeypatch.setattr(cpu, "worker_threads", lambda: 3)
    monkeypatch.setattr(cpu, "PAIRS_AT_ONCE", 3 * 500 * 7)
    random = np.random.RandomState(0)
    colors, counts = random.randint(0, 256, (8, 500, 3)).astype(np.uint8), random.randint(1, 9, (8, 500))
    starts = torch.from_numpy(random.randint(0, 256, (8, 7, 3)).astype(np.float64))
    found = []
    for shared in (1 << 20, 8 * 500 * 2):
        monkeypatch.setattr(cpu, "SHARED", shared)
        state = compiled(colors, counts, 7)
        centers = state.enter(starts)
        status, limits = torch.zeros(8, dtype=torch.int32), torch.zeros(8, dtype=torch.float64)
        pace: dict[str, Any] = {"max_iter": 300, "relaxation": 1.5, "momentum": 0.6}
        n_iter = torch.zeros(8, dtype=torch.int32)
        stands = state.iterate(centers, torch.zeros_like(centers), n_iter, status, limits, **pace)
        assert RunStatus.GOING not in stands
        found.append((centers, n_iter, status, state.labels.clone()))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert found[0][1].max() > 7


@needs_numba
def test_neighbors_of_one_center_are_not_looked_at_one_by_one() -> None:
    """Most colors are in a cell that a center owns; cells in such a cell are not told of it."""
    colors = colors_of("blobs", 40_000)
    state = compiled(colors[None], np.ones((1, 40_000), np.int64), 8)
    state.step(state.enter(torch.from_numpy(colors_of("uniform", 8, seed=1))[None]), [0])
    assert isinstance(state, cpu.CompiledLloyd)
    ((_, owners),), (tree,) = state._kept, state._trees
    cells = tree.cells
    owned, cell = 0, 0
    while cell < len(owners):
        after = cells[cell, cpu_cells.NEXT]
        owned += int(cells[after, cpu_cells.START] - cells[cell, cpu_cells.START]) * (owners[cell] != -1)
        cell = after if owners[cell] != -1 else cell + 1
    assert owned > 0.5 * 40_000


@needs_numba
@pytest.mark.parametrize("most", [0, 1, 100, 700, 10**6])
def test_parts_hold_each_color_once(most: int) -> None:
    cells = ColorCells(torch.from_numpy(colors_of("blobs", 3000))[None], torch.ones(1, 3000))
    (tree,) = cells.trees
    parts = cpu.parts_of(tree, most)
    starts = tree.cells[parts, cpu_cells.START].tolist()
    ends = tree.cells[tree.cells[parts, cpu_cells.NEXT], cpu_cells.START].tolist()
    assert [0, *ends] == [*starts, 3000]
    assert max(np.subtract(ends, starts)) <= max(most, cpu_cells.LEAF)


@IMPLEMENTATIONS
def test_farthest_comes_first(make: Make) -> None:
    colors = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [200, 0, 0], [100, 0, 0]], np.uint8)
    state = make(colors[None], np.array([[1, 5, 3, 0, 2]]), 1)
    centers = state.enter(torch.zeros(1, 1, 3))
    state.step(centers, [0])
    points, weights, labels = state.farthest(0, 4, centers[0])
    assert (points + ORIGIN).tolist() == [[100, 0, 0], [10, 0, 0], [0, 10, 0]]  # 200 is padding, 0 is at its center
    assert weights.tolist() == [2, 5, 3]
    assert labels.tolist() == [0, 0, 0]
    assert (state.farthest(0, 2, centers[0])[0] + ORIGIN).tolist() == [[100, 0, 0], [10, 0, 0]]


@IMPLEMENTATIONS
def test_variance_is_that_of_the_pixels(make: Make) -> None:
    colors, counts = colors_of("blobs", 700), np.random.RandomState(3).randint(1, 50, 700)
    pixels = np.repeat(colors, counts, axis=0).astype(np.float64)
    state = make(colors[None], counts[None], 3, 2)
    assert state.variance.tolist() == [pytest.approx(pixels.var(axis=0).mean(), rel=1e-12)] * 2


@IMPLEMENTATIONS
def test_snapping_moves_less_than_a_step_of_the_grid(make: Make) -> None:
    state = make(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.int64), 5)
    centers = torch.rand(5, 3, dtype=torch.float64) * 255
    snapped = state.enter(centers)
    assert float((state.leave(snapped) - centers).abs().max()) <= 2**-11
    assert torch.equal(snapped * 1024, (snapped * 1024).round())
    outside = torch.tensor([[-3.0, 300.0, 7.0]], dtype=torch.float64)
    assert state.leave(state.enter(outside)).tolist() == [[0.0, 255.0, 7.0]]

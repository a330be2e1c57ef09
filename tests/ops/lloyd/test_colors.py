import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels

from gpuquant import threads
from gpuquant.colors.codes import z_order
from gpuquant.ops.lloyd import candidate_lists
from gpuquant.ops.lloyd import colors as color_lloyd
from gpuquant.ops.lloyd.colors import ColorLloyd
from gpuquant.ops.points import color_blocks
from gpuquant.ops.points.color_blocks import ORIGIN, ColorBlocks
from gpuquant.ops.seeding.colors import ColorSeeding
from gpuquant.threads import one_torch_thread

Floats = npt.NDArray[np.float64]


def one_problem(colors: Pixels, counts: npt.NDArray[np.int64]) -> ColorBlocks:
    return ColorBlocks(torch.from_numpy(colors)[None], torch.from_numpy(counts)[None])


def colors_of(kind: str, n_colors: int, seed: int = 0) -> Pixels:
    random = np.random.RandomState(seed)
    if kind == "uniform":
        return random.randint(0, 256, (n_colors, 3)).astype(np.uint8)
    if kind == "line":
        return np.repeat(random.randint(0, 256, (n_colors, 1)), 3, axis=1).astype(np.uint8)
    if kind == "flat":
        return np.full((n_colors, 3), 77, np.uint8)
    blobs = random.randint(0, 256, (6, 3))[random.randint(0, 6, n_colors)] + random.normal(0, 4, (n_colors, 3))
    blobs[: n_colors // 50 + 1] = random.randint(0, 256, (n_colors // 50 + 1, 3))  # outliers
    return blobs.clip(0, 255).astype(np.uint8)


def nearest(colors: Pixels, centers: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Brute force in float64; exact here, as centers are multiples of 2^-10. argmin takes the lowest on a tie."""
    apart = np.square(colors[:, None].astype(np.float64) - centers).sum(axis=2)
    return apart.argmin(axis=1), apart.min(axis=1)


def walk(state: ColorLloyd, n_clusters: int, random: np.random.RandomState) -> list[Floats]:
    """Centers that move a little, a lot, one of them far, and stay."""
    centers = random.uniform(0, 255, (n_clusters, 3))
    steps = [centers]
    for scale in (0.01, 0.2, 0.2, 0.0, 3.0, 0.1, 60.0, 0.5):
        centers = (centers + random.normal(0, 1, centers.shape) * scale).clip(0, 255)
        steps.append(centers)
    jump = centers.copy()
    jump[-1] = 255 - jump[-1]
    steps += [jump, jump + 0.25, np.round(jump)]  # at integers exact ties are common
    return [state.leave(state.enter(torch.from_numpy(step))).numpy() for step in steps]


def check_step(state: ColorLloyd, colors: Pixels, counts: npt.NDArray[np.int64], centers: Floats) -> None:
    """One step of a single run against brute force."""
    n_clusters = len(centers)
    entered = state.enter(torch.from_numpy(centers)[None])
    sums, weights, _ = state.step(entered, [0])
    expected, distances = nearest(colors, centers)
    np.testing.assert_array_equal(state.labels_of_points()[0].numpy(), expected)
    np.testing.assert_array_equal(weights[0].numpy(), np.bincount(expected, counts, n_clusters))
    for axis in range(3):
        totals = np.bincount(expected, counts * colors[:, axis].astype(np.float64), n_clusters)
        np.testing.assert_array_equal(sums[0, :, axis].numpy() + ORIGIN * weights[0].numpy(), totals)
    (inertia,) = state.inertia(entered)
    assert inertia == pytest.approx(math.fsum(distances * counts), rel=1e-12)


@pytest.mark.parametrize("kept_numbers", [candidate_lists.KEPT_NUMBERS, 5 * 128], ids=["kept", "streamed"])
@pytest.mark.parametrize("kind", ["uniform", "blobs", "line", "flat"])
@pytest.mark.parametrize("n_clusters", [1, 2, 16, 17, 300])
@pytest.mark.parametrize("n_colors", [1, 129, 3000])
def test_every_step_finds_the_nearest_centers(
    kind: str, n_clusters: int, n_colors: int, kept_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(color_lloyd, "ALL_PAIRS", 0)  # prune even here
    monkeypatch.setattr(color_lloyd, "SCORES_AT_ONCE", 1 << 12)
    monkeypatch.setattr(candidate_lists, "KEPT_NUMBERS", kept_numbers)
    random = np.random.RandomState(1)
    colors = colors_of(kind, n_colors)
    counts = random.randint(0, 1000, n_colors)
    counts[0] = 1
    state = ColorLloyd(one_problem(colors, counts), n_clusters)
    for centers in walk(state, n_clusters, random):
        check_step(state, colors, counts, centers)
    assert state._lists.kept == (kept_numbers > 5 * 128 or n_colors < 129)


@pytest.mark.parametrize("kept_numbers", [candidate_lists.KEPT_NUMBERS, 5 * 128], ids=["kept", "streamed"])
@pytest.mark.parametrize("n_clusters", [2, 40])
def test_steps_shared_out_among_threads(n_clusters: int, kept_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(color_lloyd, "ALL_PAIRS", 0)
    monkeypatch.setattr(color_lloyd, "SCORES_AT_ONCE", 1 << 12)
    monkeypatch.setattr(candidate_lists, "KEPT_NUMBERS", kept_numbers)
    monkeypatch.setattr(candidate_lists, "FEW_POINTS", 1000)
    random = np.random.RandomState(2)
    colors, counts = colors_of("blobs", 9000), random.randint(1, 1000, 9000)
    n_threads = torch.get_num_threads()
    shared: list[tuple[int, int]] = []

    def watched(items: Sequence[Any], work: Callable[[Any], None], n_workers: int) -> None:
        shared.append((len(items), n_workers))
        threads.share_out(items, work, n_workers)

    monkeypatch.setattr(candidate_lists, "share_out", watched)
    try:
        torch.set_num_threads(3)
        with one_torch_thread():
            state = ColorLloyd(one_problem(colors, counts), n_clusters)
            for centers in walk(state, n_clusters, random):
                check_step(state, colors, counts, centers)
    finally:
        torch.set_num_threads(n_threads)
    assert max(shared)[0] > 3
    assert {n_workers for _, n_workers in shared} == {3}


def test_coincident_centers_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No box tells 4096 centers at one place apart, so every list is as long as can be; they are not all kept."""
    made: list[int] = []
    original = candidate_lists.CandidateLists._sorted_by_length

    def spy(
        self: candidate_lists.CandidateLists, begin: int, lengths: torch.Tensor, candidates: torch.Tensor
    ) -> candidate_lists._Tables:
        made.append(len(candidates))
        return original(self, begin, lengths, candidates)

    monkeypatch.setattr(candidate_lists.CandidateLists, "_sorted_by_length", spy)
    monkeypatch.setattr(candidate_lists, "KEPT_NUMBERS", 1 << 20)
    colors, counts = colors_of("uniform", 60_000), np.ones(60_000, np.int64)
    state = ColorLloyd(one_problem(colors, counts), 4096)
    centers = np.full((4096, 3), 100.0)
    centers[4000] = [10.0, 20.0, 30.0]
    for _ in range(2):
        state.step(state.enter(torch.from_numpy(centers)[None]), [0])
        expected = np.where(nearest(colors, centers[[0, 4000]])[0] == 1, 4000, 0)
        np.testing.assert_array_equal(state.labels_of_points()[0].numpy(), expected)
    assert sum(made) > 1 << 20
    assert max(made) < 2 << 20


def test_runs_and_problems_of_a_batch_are_those_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two problems, two runs on each, some of them resting for a step."""
    monkeypatch.setattr(color_lloyd, "ALL_PAIRS", 0)
    random = np.random.RandomState(6)
    colors = np.stack([colors_of("blobs", 1500), colors_of("uniform", 1500)])
    counts = random.randint(0, 9, (2, 1500))
    batch = ColorLloyd(ColorBlocks(torch.from_numpy(colors), torch.from_numpy(counts)), 20, n_runs=2)
    centers = batch.leave(batch.enter(torch.from_numpy(random.uniform(0, 255, (4, 20, 3)))))
    expected = np.full((4, 1500), -1)
    for active in ([0, 1, 2, 3], [0, 1, 2, 3], [1, 2], [3], [0, 3]):
        moved = centers[active] + torch.from_numpy(random.normal(0, 2, (len(active), 20, 3)))
        centers[active] = batch.leave(batch.enter(moved))
        sums, weights, n_changed = batch.step(batch.enter(moved), active)
        for place, run in enumerate(active):
            labels, _ = nearest(colors[run // 2], centers[run].numpy())
            if expected[run, 0] >= 0:
                assert n_changed[place] == ((labels != expected[run]) & (counts[run // 2] > 0)).sum()
            expected[run] = labels
            np.testing.assert_array_equal(weights[place].numpy(), np.bincount(labels, counts[run // 2], 20))
            red = np.bincount(labels, counts[run // 2] * colors[run // 2, :, 0].astype(np.float64), 20)
            np.testing.assert_array_equal(sums[place, :, 0].numpy() + ORIGIN * weights[place].numpy(), red)
        np.testing.assert_array_equal(batch.labels_of_points().numpy(), expected)


def test_pruning_leaves_few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pruned path runs: of 200 centers, a block of neighbors keeps a small share."""
    scored: list[int] = []
    survivors = candidate_lists._survivors

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        kept = survivors(*arguments)
        scored.append(int(kept.sum()))
        return kept

    monkeypatch.setattr(candidate_lists, "_survivors", spy)
    blocks = one_problem(colors_of("uniform", 40_000), np.ones(40_000, np.int64))
    state = ColorLloyd(blocks, 200)
    state.step(state.enter(torch.from_numpy(colors_of("uniform", 200, seed=1))[None]), [0])
    assert 0 < scored[0] < 0.4 * blocks.n_blocks * 200


def test_farthest_comes_first() -> None:
    colors = torch.tensor([[0, 0, 0], [10, 0, 0], [200, 0, 0], [100, 0, 0]], dtype=torch.uint8)
    state = ColorLloyd(ColorBlocks(colors[None], torch.tensor([[1, 5, 0, 2]])), 1)
    centers = state.enter(torch.zeros(1, 1, 3))
    state.step(centers, [0])
    points, weights, labels = state.farthest(0, 3, centers[0])
    assert (points[:, 0] + ORIGIN).tolist() == [100, 10]  # 200 is padding, 0 is at its center
    assert weights.tolist() == [2, 5]
    assert labels.tolist() == [0, 0]


def test_variance_is_that_of_the_pixels() -> None:
    colors, counts = colors_of("blobs", 700), np.random.RandomState(3).randint(1, 50, 700)
    pixels = np.repeat(colors, counts, axis=0).astype(np.float64)
    blocks = one_problem(colors, counts)
    assert float(blocks.variance) == pytest.approx(pixels.var(axis=0).mean(), rel=1e-12)


def test_seeding_is_greedy_kmeans_plus_plus() -> None:
    """Against the textbook on the same uniform numbers, all distances computed."""
    colors = colors_of("blobs", 1000)
    colors = colors[np.argsort(z_order(torch.from_numpy(colors)).numpy(), kind="stable")]
    counts = np.random.RandomState(4).randint(1, 100, 1000)
    points = colors.astype(np.float64)
    seeding = ColorSeeding(one_problem(colors, counts))
    random = np.random.RandomState(5)
    first = int(np.searchsorted(np.cumsum(counts), (uniform := random.uniform(size=1)) * counts.sum(), side="right")[0])
    np.testing.assert_array_equal(seeding.add_best(seeding.draw(uniform[None]))[0], points[first])
    closest = np.square(points - points[first]).sum(axis=1)
    for _ in range(40):
        uniforms = random.uniform(size=4)
        candidates = np.searchsorted(np.cumsum(counts * closest), uniforms * (counts * closest).sum())
        lowered = [np.minimum(closest, np.square(points - points[index]).sum(axis=1)) for index in candidates]
        best = int(np.argmin([(counts * distances).sum() for distances in lowered]))
        closest = lowered[best]
        np.testing.assert_array_equal(seeding.add_best(seeding.draw(uniforms[None]))[0], points[candidates[best]])
        assert seeding.potentials() == [(counts * closest).sum()]


def test_snapping_moves_less_than_a_step_of_the_grid() -> None:
    state = ColorLloyd(one_problem(np.zeros((1, 3), np.uint8), np.ones(1, np.int64)), 5)
    centers = torch.rand(5, 3, dtype=torch.float64) * 255
    snapped = state.enter(centers)
    assert float((state.leave(snapped) - centers).abs().max()) <= 2**-11
    assert torch.equal(snapped * 1024, (snapped * 1024).round())
    outside = torch.tensor([[-3.0, 300.0, 7.0]], dtype=torch.float64)
    assert state.leave(state.enter(outside)).tolist() == [[0.0, 255.0, 7.0]]


@pytest.mark.parametrize("at_once", [1 << 14, 256])
def test_blocks_hold_all_colors(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setitem(color_blocks.COLORS_AT_ONCE, "cpu", at_once)
    random = np.random.RandomState(0)
    colors = random.randint(0, 256, (2, 1000, 3)).astype(np.uint8)
    counts = random.randint(0, 9, (2, 1000))
    blocks = ColorBlocks(torch.from_numpy(colors), torch.from_numpy(counts))
    for problem in range(2):
        points = blocks.points[problem].transpose(1, 2).double().numpy() + ORIGIN  # [n_blocks, BLOCK, 3]
        weights = blocks.weights[problem].numpy()
        found = np.repeat(points.reshape(-1, 3), weights.reshape(-1).astype(int), axis=0)
        every = np.repeat(colors[problem], counts[problem], axis=0).astype(np.float64)
        np.testing.assert_array_equal(found[np.lexsort(found.T)], every[np.lexsort(every.T)])
        low, high = points.min(axis=1), points.max(axis=1)
        boxes = blocks.boxes[problem].numpy()
        np.testing.assert_array_equal(boxes[:, :3], (low + high) / 2 - ORIGIN)
        np.testing.assert_allclose(boxes[:, 3], np.linalg.norm(high - low, axis=1) / 2, rtol=1e-15)
        assert blocks.total_weight[problem] == counts[problem].sum()
        assert blocks.square_sum[problem] == np.square(every - ORIGIN).sum()
        assert float(blocks.variance[problem]) == pytest.approx(every.var(axis=0).mean(), rel=1e-12)

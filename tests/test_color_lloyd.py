import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels

from gpuquant.ops import color_lloyd
from gpuquant.ops.color_blocks import ORIGIN, ColorBlocks
from gpuquant.ops.color_codes import z_order
from gpuquant.ops.color_lloyd import ColorLloyd
from gpuquant.ops.color_seeding import ColorSeeding

Floats = npt.NDArray[np.float64]


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
    return [state.snap(torch.from_numpy(step)).numpy() for step in steps]


@pytest.mark.parametrize("kind", ["uniform", "blobs", "line", "flat"])
@pytest.mark.parametrize("n_clusters", [1, 2, 16, 17, 300])
@pytest.mark.parametrize("n_colors", [1, 129, 3000])
def test_every_step_finds_the_nearest_centers(
    kind: str, n_clusters: int, n_colors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(color_lloyd, "ALL_PAIRS", 0)  # prune even here
    random = np.random.RandomState(1)
    colors = colors_of(kind, n_colors)
    counts = random.randint(0, 1000, n_colors)
    counts[0] = 1
    state = ColorLloyd(ColorBlocks(torch.from_numpy(colors), torch.from_numpy(counts)), n_clusters)
    before = np.full(n_colors, -1)
    for centers in walk(state, n_clusters, random):
        sums, weights, _ = state.step(torch.from_numpy(centers))
        expected, distances = nearest(colors, centers)
        np.testing.assert_array_equal(state.labels_of_points().numpy(), expected)
        np.testing.assert_array_equal(weights.numpy(), np.bincount(expected, counts, n_clusters))
        for axis in range(3):
            totals = np.bincount(expected, counts * colors[:, axis].astype(np.float64), n_clusters)
            np.testing.assert_array_equal(sums[:, axis].numpy(), totals)
        assert state.inertia(torch.from_numpy(centers)) == pytest.approx(math.fsum(distances * counts), rel=1e-12)
        before = expected
    assert before.max() < n_clusters


def test_pruning_leaves_few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pruned path runs: of 200 centers, a block of neighbours keeps a small share."""
    scored: list[int] = []
    survivors = color_lloyd._survivors

    def spy(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths, candidates = survivors(*arguments)
        scored.append(int(lengths.sum()))
        return lengths, candidates

    monkeypatch.setattr(color_lloyd, "_survivors", spy)
    blocks = ColorBlocks(torch.from_numpy(colors_of("uniform", 40_000)), torch.ones(40_000))
    ColorLloyd(blocks, 200).step(torch.from_numpy(colors_of("uniform", 200, seed=1)).double())
    assert 0 < scored[0] < 0.4 * blocks.n_blocks * 200


def test_farthest_comes_first() -> None:
    colors = torch.tensor([[0, 0, 0], [10, 0, 0], [200, 0, 0], [100, 0, 0]], dtype=torch.uint8)
    state = ColorLloyd(ColorBlocks(colors, torch.tensor([1, 5, 0, 2])), 1)
    centers = torch.zeros(1, 3, dtype=torch.float64)
    state.step(centers)
    points, weights, labels = state.farthest(3, centers)
    assert points[:, 0].tolist() == [100, 10]  # 200 is padding, 0 is at its center
    assert weights.tolist() == [2, 5]
    assert labels.tolist() == [0, 0]


def test_variance_is_that_of_the_pixels() -> None:
    colors, counts = colors_of("blobs", 700), np.random.RandomState(3).randint(1, 50, 700)
    pixels = np.repeat(colors, counts, axis=0).astype(np.float64)
    blocks = ColorBlocks(torch.from_numpy(colors), torch.from_numpy(counts))
    assert blocks.variance == pytest.approx(pixels.var(axis=0).mean(), rel=1e-12)


def test_seeding_is_greedy_kmeans_plus_plus() -> None:
    """Against the textbook on the same uniform numbers, all distances computed."""
    colors = colors_of("blobs", 1000)
    colors = colors[np.argsort(z_order(torch.from_numpy(colors)).numpy(), kind="stable")]
    counts = np.random.RandomState(4).randint(1, 100, 1000).astype(np.float64)
    points = colors.astype(np.float64)
    seeding = ColorSeeding(ColorBlocks(torch.from_numpy(colors), torch.from_numpy(counts)))
    random = np.random.RandomState(5)
    first = int(np.searchsorted(np.cumsum(counts), (uniform := random.uniform(size=1)) * counts.sum(), side="right")[0])
    np.testing.assert_array_equal(seeding.add_best(seeding.draw(uniform)), points[first])
    closest = np.square(points - points[first]).sum(axis=1)
    for _ in range(40):
        uniforms = random.uniform(size=4)
        candidates = np.searchsorted(np.cumsum(counts * closest), uniforms * (counts * closest).sum())
        lowered = [np.minimum(closest, np.square(points - points[index]).sum(axis=1)) for index in candidates]
        best = int(np.argmin([(counts * distances).sum() for distances in lowered]))
        closest = lowered[best]
        np.testing.assert_array_equal(seeding.add_best(seeding.draw(uniforms)), points[candidates[best]])
        assert seeding.potential() == (counts * closest).sum()


def test_snapping_moves_less_than_a_step_of_the_grid() -> None:
    state = ColorLloyd(ColorBlocks(torch.zeros(1, 3, dtype=torch.uint8), torch.ones(1)), 5)
    centers = torch.rand(5, 3, dtype=torch.float64) * 255
    snapped = state.snap(centers)
    assert float((snapped - centers).abs().max()) <= 2**-11
    assert torch.equal((snapped - ORIGIN) * 1024, ((snapped - ORIGIN) * 1024).round())

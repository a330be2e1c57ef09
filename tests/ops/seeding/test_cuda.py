"""k-means++ as Triton kernels, in the interpreter (on a CUDA device where there is one)."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from gpuquant.clustering.initialization import kmeans_plus_plus
from gpuquant.ops.points.color_blocks import BLOCK, ColorBlocks
from gpuquant.ops.seeding.cuda import KernelSeeding

Floats = npt.NDArray[np.float64]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


@pytest.mark.parametrize(
    ("n_points", "n_clusters", "n_runs"),
    [(1, 1, 2), (127, 17, 2), (1024, 2, 2), (1300, 16, 2), (5000, 4, 2), (320, 300, 1)],
)
def test_colors_are_chosen_as_on_the_cpu(n_points: int, n_clusters: int, n_runs: int) -> None:
    """Every sum is exact, so the draws are those of the CPU, tested against scikit-learn."""
    n_problems = n_runs
    random = np.random.RandomState(n_points + n_clusters)
    colors = torch.from_numpy(random.randint(0, 256, (n_problems, n_points, 3)).astype(np.uint8))
    blocks = ColorBlocks(
        colors, torch.from_numpy(random.randint(0, 9, (n_problems, n_points)) + (np.arange(n_points) == 0))
    )
    draws = [np.random.RandomState(seed) for seed in range(n_problems)]
    expected, potentials = kmeans_plus_plus(blocks, n_clusters, draws, n_runs)
    n_candidates = 2 + int(np.log(n_clusters))
    uniforms = np.concatenate(
        [
            np.random.RandomState(seed).uniform(size=(n_runs, 1 + n_candidates * (n_clusters - 1)))
            for seed in range(n_problems)
        ]
    )
    seeding = KernelSeeding(*(part.to(DEVICE) for part in blocks.for_kernels()), n_runs=n_runs, group=BLOCK)
    chosen, reached = seeding.choose(n_clusters, uniforms, n_candidates)
    found = torch.stack([blocks.points_at(run // n_runs, index) for run, index in enumerate(chosen.cpu())])
    assert torch.equal(found, expected)
    assert reached.tolist() == potentials


@pytest.mark.parametrize(
    ("n_pixels", "n_clusters", "n_tried"), [(1, 7, 3), (1000, 7, 3), (9000, 7, 3), (1000, 3, 9), (50, 1, 2)]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_pixels_are_drawn_in_their_order(n_pixels: int, n_clusters: int, n_tried: int, weighted: bool) -> None:
    """The draws are those of running sums over all pixels, and the best candidates those of all distances."""
    random = np.random.RandomState(n_pixels)
    colors = random.randint(0, 256, (60, 4)).astype(np.int64)
    ranks = random.randint(0, 60, n_pixels)
    shares = random.randint(0, 4, n_pixels) + (np.arange(n_pixels) == 0) if weighted else np.ones(n_pixels, np.int64)
    uniforms, first = random.uniform(size=n_tried * (n_clusters - 1)), int(ranks[0])
    chosen, closest = [first], np.square(colors - colors[first]).sum(axis=1)
    totals = np.bincount(ranks, shares, 60)
    for step in range(n_clusters - 1):
        running = np.cumsum(shares * closest[ranks])
        targets = uniforms[n_tried * step : n_tried * (step + 1)] * running[-1]
        drawn = ranks[np.searchsorted(running, targets).clip(max=n_pixels - 1)]
        lowered = [np.minimum(closest, np.square(colors - colors[one]).sum(axis=1)) for one in drawn]
        best = int(np.argmin([totals @ low for low in lowered]))
        chosen.append(int(drawn[best]))
        closest = lowered[best]
    points = torch.from_numpy(colors[None]).to(torch.float32).to(DEVICE)
    seeding = KernelSeeding(
        points,
        torch.zeros(1, 4, dtype=torch.float64, device=DEVICE),
        torch.from_numpy(totals[None]).double().to(DEVICE),
        ranks=torch.from_numpy(ranks).int().to(DEVICE),
        item_weights=torch.from_numpy(shares).double().to(DEVICE) if weighted else None,
    )
    found, reached = seeding.choose(n_clusters, uniforms[None], n_tried, first)
    assert found.cpu().tolist() == [chosen]
    assert reached.tolist() == [float(totals @ closest)]


def chosen_on_host(points: Floats, weights: Floats, uniforms: Floats, n_clusters: int, n_tried: int) -> list[int]:
    """Greedy k-means++ by running sums."""
    chosen, closest = [int(np.searchsorted(np.cumsum(weights), uniforms[0] * weights.sum(), side="right"))], None
    for step in range(n_clusters):
        lowered = [np.square(points - points[one]).sum(axis=1) for one in chosen[step:]]
        if closest is not None:
            lowered = [np.minimum(closest, low) for low in lowered]
        best = int(np.argmin([weights @ low for low in lowered]))
        chosen[step:] = [chosen[step:][best]]
        closest = lowered[best]
        if step + 1 < n_clusters:
            running = np.cumsum(weights * closest)
            tried = uniforms[1 + n_tried * step : 1 + n_tried * (step + 1)]
            chosen += np.searchsorted(running, tried * running[-1]).tolist()
    return chosen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_columns", [1, 2, 3, 4])
def test_float_points_are_chosen_by_running_sums(n_columns: int, dtype: torch.dtype) -> None:
    random = np.random.RandomState(n_columns)
    points = torch.from_numpy(random.normal(5, 2, (2, 2500, n_columns))).to(dtype)
    weights = random.uniform(0, 2, (2, 2500)) * (random.uniform(size=(2, 2500)) < 0.7)
    uniforms, origin = random.uniform(size=(2, 1 + 4 * 8)), points.double().mean(dim=1)
    seeding = KernelSeeding(points.to(DEVICE), origin.to(DEVICE), torch.from_numpy(weights).to(DEVICE))
    found, _ = seeding.choose(9, uniforms, 4)
    expected = [chosen_on_host(points[b].double().numpy(), weights[b], uniforms[b], 9, 4) for b in range(2)]
    assert found.cpu().tolist() == expected

"""k-means++ as Triton kernels, in the interpreter (on a CUDA device where there is one)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from side_by_side import side_by_side

from gpuquant.ops.points.colors import ColorPoints
from gpuquant.ops.seeding import cuda, reference
from gpuquant.ops.seeding.cuda import KernelSeeding
from gpuquant.ops.seeding.cuda_pixels import choose_pixels

Floats = npt.NDArray[np.float64]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


@pytest.fixture(params=[1, 3, 8])
def programs(rubbish: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As many programs at once: each of four runs has two of eight, and one of three, which then makes two runs."""
    monkeypatch.setattr(cuda, "ALONE", 0)
    monkeypatch.setattr(cuda, "BLOCK", 128)
    monkeypatch.setattr(cuda, "programs_that_meet", lambda _: request.param)
    with side_by_side(request.param):
        yield


@pytest.mark.parametrize(
    ("n_points", "n_clusters", "n_runs"),
    [
        (1, 1, 1),
        (520, 4, 2),
        *(
            pytest.param(*sizes, marks=pytest.mark.slow)
            for sizes in ((127, 17, 2), (512, 2, 2), (5000, 4, 1), (90, 80, 1))
        ),
    ],
)
@pytest.mark.usefixtures("programs")
def test_colors_are_chosen_as_by_plain_torch(n_points: int, n_clusters: int, n_runs: int) -> None:
    """Two problems; every sum is exact, so the draws are the same."""
    random = np.random.RandomState(n_points + n_clusters)
    colors = torch.from_numpy(random.randint(0, 256, (2, n_points, 3)).astype(np.uint8))
    counts = random.randint(0, 9, (2, n_points)) + (np.arange(n_points) == 0)
    points, n_candidates = ColorPoints(colors, torch.from_numpy(counts)), 2 + int(np.log(n_clusters))
    uniforms = random.uniform(size=(2, n_runs, 1 + n_candidates * (n_clusters - 1)))
    seeding = KernelSeeding(points.colors.to(DEVICE), points.weights.to(DEVICE), n_runs)
    found, reached = seeding.choose(n_clusters, uniforms.reshape(2 * n_runs, -1), n_candidates)
    for problem in range(2):
        own = points.colors[problem], points.weights[problem], uniforms[problem], n_candidates, n_clusters
        chosen, potentials = reference.choose_colors(*own)
        of_problem = slice(problem * n_runs, (problem + 1) * n_runs)
        np.testing.assert_array_equal(found[of_problem], points.colors[problem].numpy()[chosen])
        assert reached[of_problem] == potentials


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_loops_over_programs_and_chunks_make_more_than_one_pass(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device, which has hundreds of programs: here less is looked at together."""
    for name, value in {"ALONE": 0, "BLOCK": 16, "CHUNK": 4, "WIDTH": 2, "PARTS": 2}.items():
        monkeypatch.setattr(cuda, name, value)
    monkeypatch.setattr(cuda, "programs_that_meet", lambda _: 10)
    with side_by_side(seed):
        test_colors_are_chosen_as_by_plain_torch(150, 3, 1)


@pytest.mark.parametrize("share", [0.3, 0.0])
@pytest.mark.usefixtures("programs")
def test_no_more_centers_are_added_than_needed(share: float) -> None:
    """All programs see it at the same time, and none is awaited in vain."""
    random = np.random.RandomState(1)
    colors = torch.from_numpy(random.randint(0, 256, (1, 600, 3)).astype(np.uint8))
    points, uniforms = ColorPoints(colors, torch.ones(1, 600)), random.uniform(size=(1, 1 + 4 * 7))
    own = points.colors[0], points.weights[0], uniforms, 4
    _, (all_of_it,) = reference.choose_colors(*own, 1)
    expected, potentials = reference.choose_colors(*own, 8, share * all_of_it)
    seeding = KernelSeeding(points.colors.to(DEVICE), points.weights.to(DEVICE))
    found, reached = seeding.choose(8, uniforms, 4, [share * all_of_it])
    n_centers = expected.shape[1]
    np.testing.assert_array_equal(found[0, :n_centers], points.colors[0].numpy()[expected[0]])
    assert reached == potentials
    assert (n_centers < 8) == (share > 0)
    assert not found[0, n_centers:].any()


@pytest.mark.usefixtures("programs")
def test_a_run_that_ends_does_not_end_others() -> None:
    """Two runs on each of two problems, of which the first needs fewer centers, and one of its runs fewer yet."""
    random = np.random.RandomState(0)
    colors = torch.from_numpy(random.randint(0, 256, (2, 300, 3)).astype(np.uint8))
    uniforms, weights = random.uniform(size=(4, 1 + 3 * 5)), torch.ones(2, 300).double()
    own = [(colors[run // 2], weights[run // 2], uniforms[run : run + 1], 3) for run in range(4)]
    after_two = [reference.choose_colors(*own[run], 2)[1][0] for run in range(2)]
    least = [(min(after_two) + max(after_two)) / 2, 0.0]
    expected = [reference.choose_colors(*own[run], 6, least[run // 2]) for run in range(4)]
    found, reached = KernelSeeding(colors.to(DEVICE), weights.to(DEVICE), 2).choose(6, uniforms, 3, least)
    assert len({chosen.shape[1] for chosen, _ in expected}) == 3
    for run, (chosen, (potential,)) in enumerate(expected):
        n_centers = chosen.shape[1]
        np.testing.assert_array_equal(found[run, :n_centers], colors[run // 2].numpy()[chosen[0]])
        assert not found[run, n_centers:].any()
        assert reached[run] == potential


@pytest.mark.parametrize(
    ("n_pixels", "n_clusters", "n_tried"),
    [(1, 3, 3), (600, 3, 9), (50, 1, 2), pytest.param(9000, 7, 3, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_pixels_are_drawn_in_their_order(n_pixels: int, n_clusters: int, n_tried: int, weighted: bool) -> None:
    """The draws are those of running sums over all pixels, and the best candidates those of all distances."""
    random = np.random.RandomState(n_pixels)
    colors = random.randint(0, 256, (60, 4)).astype(np.int64)
    ranks = random.randint(0, 60, n_pixels)
    shares = random.randint(0, 4, n_pixels) + (np.arange(n_pixels) == 0) if weighted else np.ones(n_pixels, np.int64)
    uniforms, first = random.uniform(size=(n_clusters - 1, n_tried)), int(ranks[0])
    chosen, closest = [first], np.square(colors - colors[first]).sum(axis=1)
    totals = np.bincount(ranks, shares, 60)
    for row in uniforms:
        running = np.cumsum(shares * closest[ranks])
        drawn = ranks[np.searchsorted(running, row * running[-1]).clip(max=n_pixels - 1)]
        lowered = [np.minimum(closest, np.square(colors - colors[one]).sum(axis=1)) for one in drawn]
        best = int(np.argmin([totals @ low for low in lowered]))
        chosen.append(int(drawn[best]))
        closest = lowered[best]
    found, reached = choose_pixels(
        torch.from_numpy(colors.astype(np.uint8)).to(DEVICE),
        torch.from_numpy(totals).double().to(DEVICE),
        torch.from_numpy(ranks).int().to(DEVICE),
        torch.from_numpy(shares).double().to(DEVICE) if weighted else None,
        first,
        uniforms,
    )
    assert found.cpu().tolist() == chosen
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
@pytest.mark.parametrize("n_columns", [1, pytest.param(2, marks=pytest.mark.slow), 3, 4])
def test_float_points_are_chosen_by_running_sums(n_columns: int, dtype: torch.dtype) -> None:
    random = np.random.RandomState(n_columns)
    points = torch.from_numpy(random.normal(5, 2, (2, 600, n_columns))).to(dtype)
    weights = random.uniform(0, 2, (2, 600)) * (random.uniform(size=(2, 600)) < 0.7)
    uniforms = random.uniform(size=(2, 1 + 4 * 4))
    seeding = KernelSeeding(points.to(DEVICE), torch.from_numpy(weights).to(DEVICE))
    found, _ = seeding.choose(5, uniforms, 4)
    for problem in range(2):
        own = points[problem].double().numpy()
        np.testing.assert_array_equal(
            found[problem], own[chosen_on_host(own, weights[problem], uniforms[problem], 5, 4)]
        )


@pytest.mark.parametrize("n_at_once", [2, 4])
def test_float_points_are_chosen_by_several_programs(n_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums do not depend on how many runs there are: the last run goes with others, or after them."""
    monkeypatch.setattr(cuda, "ALONE", 0)
    monkeypatch.setattr(cuda, "programs_that_meet", lambda _: n_at_once)
    random = np.random.RandomState(0)
    points, weights = random.normal(5, 2, (600, 3)), random.uniform(0, 2, 600)
    uniforms = random.uniform(size=(3, 1 + 4 * 3))
    seeding = KernelSeeding(torch.from_numpy(points)[None].to(DEVICE), torch.from_numpy(weights)[None].to(DEVICE), 3)
    with side_by_side(n_at_once):
        found, _ = seeding.choose(4, uniforms, 4)
    for run in range(3):
        np.testing.assert_array_equal(found[run], points[chosen_on_host(points, weights, uniforms[run], 4, 4)])

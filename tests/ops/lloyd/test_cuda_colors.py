"""Lloyd iterations on colors as a Triton kernel, in the interpreter, against plain torch bit by bit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from gpuquant.clustering.lloyd import lloyd
from gpuquant.ops import kernel_choice
from gpuquant.ops.lloyd import cuda_color_steps, cuda_colors
from gpuquant.ops.lloyd.cuda_colors import KernelColorLloyd
from gpuquant.ops.lloyd.reference import ReferenceLloyd
from gpuquant.ops.pixels import cuda as triton_ops
from gpuquant.ops.points.colors import ColorPoints

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Pixels = npt.NDArray[np.uint8]

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


def problem(n_colors: int, seed: int = 0, n_problems: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds of colors, with outliers; some counts are 0, and in the first half some are large."""
    random = np.random.RandomState(seed)
    shape = n_problems, n_colors
    middles = random.randint(0, 256, (6, 3))[random.randint(0, 6, shape)]
    colors = (middles + random.normal(0, 9, (*shape, 3))).clip(0, 255).astype(np.uint8)
    colors[:, ::50] = random.randint(0, 256, colors[:, ::50].shape)
    counts = random.randint(0, 5, shape)
    counts[:, : n_colors // 2] *= 10 ** random.randint(0, 9, (n_problems, n_colors // 2))
    return torch.from_numpy(colors), torch.from_numpy(counts)


def both(colors: torch.Tensor, counts: torch.Tensor, n_clusters: int, n_runs: int = 1) -> tuple[Any, ReferenceLloyd]:
    there = ColorPoints(colors.to(DEVICE), counts.to(DEVICE))
    return KernelColorLloyd(there, n_clusters, n_runs), ReferenceLloyd(ColorPoints(colors, counts), n_clusters, n_runs)


@pytest.fixture(params=["one program", "three programs"])
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_colors, "ALONE", 1 << 30 if request.param == "one program" else 0)
    monkeypatch.setattr(cuda_color_steps, "NEAR", 32)  # so that more clusters take more than one pass


def check_same(found: Any, expected: ReferenceLloyd, runs: list[int], centers: torch.Tensor) -> None:
    assert torch.equal(found.labels.cpu(), expected.labels)
    assert torch.equal(found.totals[runs], expected.totals[runs])
    assert found.changed(runs) == expected.changed(runs)
    every = torch.zeros(found.n_all, *centers.shape[1:], dtype=torch.float64)
    every[runs] = centers
    assert [found.inertia(every)[run] for run in runs] == [expected.inertia(every)[run] for run in runs]
    levels = centers[0].round().numpy() + 128
    assert found.error_of_levels(runs[0], levels) == expected.error_of_levels(runs[0], levels)


@pytest.mark.parametrize(
    ("n_colors", "n_clusters"), [(1, 1), (1025, 16), (1100, 17), pytest.param(2500, 100, marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("programs")
def test_a_step_is_that_of_plain_torch(n_colors: int, n_clusters: int) -> None:
    """Two problems, two runs on each, one of them resting; centers on the grid, some of them equal."""
    random = np.random.RandomState(n_colors)
    found, expected = both(*problem(n_colors, n_colors, 2), n_clusters, n_runs=2)
    centers = found.enter(torch.from_numpy(random.uniform(-9, 264, (3, n_clusters, 3))))
    centers[:, ::3] = centers[:, :1].clone()
    for _ in range(1 + (n_colors > 2000)):
        for state in (found, expected):
            state.step(centers, [0, 1, 3])
        check_same(found, expected, [0, 1, 3], centers)
        centers = found.snap(centers + 1.5 * torch.from_numpy(random.normal(size=centers.shape)))
    points, weights, labels = found.farthest(3, 5, centers[2])
    for one, other in zip((points, weights, labels), expected.farthest(3, 5, centers[2]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("n_clusters", [16, 40])
@pytest.mark.usefixtures("programs")
def test_scores_that_differ_in_their_last_bits_are_told_apart(n_clusters: int) -> None:
    """Gray centers beside the middle of two others: integer arithmetic in Python says which one is nearest."""
    random = np.random.RandomState(0)
    colors = torch.from_numpy(random.randint(0, 256, (1, 200, 3)).astype(np.uint8))
    steps = random.randint(-40, 40, (n_clusters, 3)) + random.randint(-2, 2, (n_clusters, 1)) * 1024
    found, _ = both(colors, torch.ones(1, 200), n_clusters)
    found.step(torch.from_numpy(steps / 1024)[None], [0])
    levels = found.points.colors[0].cpu().numpy().astype(object) - 128
    squares = [sum((level * 1024 - step) ** 2 for level, step in zip(color, own, strict=True))
               for color in levels.tolist() for own in steps.tolist()]  # fmt: skip
    np.testing.assert_array_equal(found.labels[0].cpu(), np.reshape(squares, (200, n_clusters)).argmin(axis=1))


@pytest.mark.parametrize("max_iter", [1, 4, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("n_clusters", "pace"), [(5, (1.0, 0.0)), (5, (1.5, 0.6)), pytest.param(20, (1.5, 0.6), marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("programs")
def test_runs_are_those_of_plain_torch(
    n_clusters: int, pace: tuple[float, float], max_iter: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several runs that end at different times, two of them with empty clusters, which the host fills."""
    colors, counts = problem(300, 5, 2)
    centers = torch.from_numpy(np.random.RandomState(5).uniform(0, 256, (4, n_clusters, 3)))
    centers[1, 2:] = 255.0
    centers[2, :3] = centers[2, 3]
    centers = centers.mT.contiguous().mT  # as a caller's Fortran order would leave them
    settings: dict[str, Any] = {"tol": 1e-4, "relaxation": pace[0], "momentum": pace[1]}

    def run(where: str, steps: Any) -> Any:
        points = ColorPoints(colors.to(where), counts.to(where))
        return lloyd(points, centers.to(where), max_iter=steps, **settings)

    monkeypatch.setattr(kernel_choice, "kernels_for", lambda _: None)
    expected = run("cpu", max_iter)
    monkeypatch.setattr(kernel_choice, "kernels_for", lambda _: triton_ops)
    found = run(DEVICE, np.int64(max_iter))
    assert isinstance(found.state, KernelColorLloyd)
    assert found.n_iter == expected.n_iter
    assert found.converged == expected.converged
    assert torch.equal(found.centers, expected.centers)
    assert torch.equal(found.labels.cpu(), expected.labels)
    assert found.inertia == expected.inertia


@pytest.mark.usefixtures("programs")
def test_a_run_goes_on_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the estimator asks for it with verbose."""
    colors, counts = problem(1500, 1)
    found, expected = both(colors, counts, 6)
    progress = [
        (state.enter(colors[0, :6].double()[None]).contiguous(), torch.zeros(1, 6, 3).double(),
         torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32), torch.zeros(1).double())
        for state in (found, expected)
    ]  # fmt: skip
    pace: dict[str, Any] = {"max_iter": 5, "relaxation": 1.0, "momentum": 0.0, "n_steps": 1}
    for _ in range(5):
        stands = [state.iterate(*own, **pace) for state, own in zip((found, expected), progress, strict=True)]
        assert stands[0] == stands[1]
        assert all(torch.equal(*pair) for pair in zip(*progress, strict=True))
    assert found.labeled == {0}  # it was still at the end: its labels hold


@pytest.mark.usefixtures("programs")
def test_large_batches_are_looked_at_by_what_tells_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for most in (0, 1 << 20):
        monkeypatch.setattr(cuda_colors, "MOST_LOOKED_AT", most)
        colors, counts = problem(700, 3)
        state = KernelColorLloyd(ColorPoints(colors.to(DEVICE), counts.to(DEVICE)), 4)
        found.append(state.step(state.enter(colors[0, :4].double()[None]), [0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]

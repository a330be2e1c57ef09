"""Breathing k-means as a Triton kernel, in the interpreter, against cycles made one by one, bit by bit."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from kernel_launches import watch_launches
from side_by_side import side_by_side

from gpuquant import ops
from gpuquant.clustering.breathing import breathe
from gpuquant.ops.lloyd import cuda_grid
from gpuquant.ops.lloyd.device_grid import DeviceGrid

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


def problem(n_points: int, n_centers: int, kind: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colors, counts, and some of the colors as centers."""
    random = np.random.RandomState(n_points + n_centers)
    points = random.randint(0, 256, (n_points, 3))
    if kind == "clouds":
        points = (points[random.randint(0, min(7, n_points), n_points)] + random.normal(0, 20, points.shape)).clip(
            0, 255
        )
    if kind == "mirrored":  # clusters extend as far in two columns
        points[:, 1] = 255 - points[:, 0]
    if kind == "dark":  # what is lost by rounding decides which clusters are merged
        points = random.randint(0, 12, (n_points, 1)).repeat(3, axis=1)
    counts = random.randint(1, 1000, n_points)
    if kind == "light":
        counts = random.randint(0, 3, n_points)
    if kind == "heavy":
        counts *= 1 << 24
    if kind == "lattice":  # many costs and distances are equal
        points, counts = random.randint(0, 6, (n_points, 3)) * 8, np.ones(n_points, np.int64)
    centers = points[random.randint(0, n_points, n_centers)].astype(np.float64)
    if kind == "ties":
        centers[n_centers // 2 :] = centers[: n_centers - n_centers // 2].copy()
    return torch.from_numpy(points.astype(np.uint8)), torch.from_numpy(counts), torch.from_numpy(centers)


def check(points: torch.Tensor, counts: torch.Tensor, centers: torch.Tensor, n_cycles: int) -> None:
    """The same centers, error, and numbers drawn."""
    host, device = np.random.RandomState(5), np.random.RandomState(5)
    expected = breathe(ops.grid_points(points, counts), centers, n_cycles=n_cycles, draws=host)
    there = DeviceGrid(points.to(DEVICE), counts.to(DEVICE), cuda_grid.breathe, pytest.fail)
    found = breathe(there, centers, n_cycles=n_cycles, draws=device)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert device.random_sample() == host.random_sample()


@pytest.fixture(autouse=True)
def programs(rubbish: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """At most three programs in the interpreter, if a test does not say how many."""
    n_programs = getattr(request, "param", 3)
    if DEVICE == "cpu" or n_programs != 3:
        monkeypatch.setattr(cuda_grid, "programs_that_meet", lambda _: n_programs)
    with side_by_side(n_programs):
        yield n_programs


@pytest.mark.parametrize("kind", ["clouds", "lattice", "mirrored", "dark", "ties", "light", "heavy"])
@pytest.mark.parametrize(
    ("n_points", "n_centers", "n_cycles"),
    [
        (300, 40, 1),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((900, 60, 3), (1500, 17, 9), (2000, 129, 2))),
    ],
)
def test_cycles_are_those_made_one_by_one(
    kind: str, n_points: int, n_centers: int, n_cycles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_launches(monkeypatch)
    check(*problem(n_points, n_centers, kind), n_cycles)


@pytest.mark.parametrize(("n_points", "n_centers", "n_cycles"), [(1, 1, 2), (3, 2, 3), (300, 1, 2), (40, 5, 2)])
def test_a_few_clusters(n_points: int, n_centers: int, n_cycles: int) -> None:
    """Points at an odd address."""
    points, counts, centers = problem(n_points, n_centers, "lattice")
    odd = torch.zeros(points.numel() + 1, dtype=torch.uint8)[1:].view(points.shape)
    check(odd.copy_(points), counts, centers, n_cycles)


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device")
@pytest.mark.parametrize("n_centers", [8, 256])
def test_all_of_a_device(n_centers: int) -> None:
    check(*problem(200_000, n_centers, "clouds"), 14)


@pytest.mark.parametrize("programs", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 5, 9))], indirect=True)
def test_any_number_of_programs_finds_the_same(programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs with several tiles each, fewer of them for some."""
    monkeypatch.setattr(cuda_grid, "TILE", 16)
    check(*problem(150 + 7 * programs, 4, "clouds"), 2)


@pytest.mark.parametrize("count", [0, 1])
def test_no_cycle_is_made_where_there_is_nothing_to_split(count: int) -> None:
    points = torch.arange(12, dtype=torch.uint8).view(4, 3)
    check(points, torch.full((4,), count), points[1 - count :].double(), 4)


@pytest.mark.parametrize("trouble", ["few numbers", "many clusters"])
def test_cycles_are_made_one_by_one_where_the_kernel_cannot(trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had not been tried: with the same numbers drawn."""
    if trouble == "few numbers":
        monkeypatch.setattr(cuda_grid, "UNIFORMS", 1)
    else:
        monkeypatch.setattr(cuda_grid, "MOST_CLUSTERS", 7)
    points, counts, centers = problem(300, 8, "clouds")
    asked: list[int] = []

    def cycle_by_cycle(*given: torch.Tensor) -> ops.GridPoints | ops.DeviceGrid:
        asked.append(1)
        return ops.grid_points(*(tensor.cpu() for tensor in given))

    draws, expected = np.random.RandomState(3), np.random.RandomState(3)
    there = DeviceGrid(points.to(DEVICE), counts.to(DEVICE), cuda_grid.breathe, cycle_by_cycle)
    found = breathe(there, centers, n_cycles=2, draws=draws)
    again = breathe(ops.grid_points(points, counts), centers, n_cycles=2, draws=expected)
    assert asked == [1]
    assert torch.equal(found[0], again[0])
    assert found[1] == again[1]
    assert draws.random_sample() == expected.random_sample()

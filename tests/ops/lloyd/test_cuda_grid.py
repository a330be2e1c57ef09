"""Breathing k-means as a Triton kernel, in the interpreter, against cycles made one by one, bit by bit."""

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
    if kind == "dark":  # what is lost by rounding decides which clusters are merged
        points = random.randint(0, 12, (n_points, 1)).repeat(3, axis=1)
    counts = random.randint(0, 3, n_points) if kind == "light" else random.randint(1, 1000, n_points)
    centers = points[random.randint(0, n_points, n_centers)].astype(np.float64)
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


@pytest.mark.parametrize("kind", ["clouds", "lattice", "dark", "ties", "light"])
@pytest.mark.parametrize(
    ("n_points", "n_centers", "n_cycles"),
    [
        (1, 1, 2),
        (3, 2, 3),
        (400, 24, 1),
        *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((900, 60, 3), (1500, 17, 9), (2000, 129, 2))),
    ],
)
def test_cycles_are_those_made_one_by_one(
    kind: str, n_points: int, n_centers: int, n_cycles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_launches(monkeypatch)
    with side_by_side():
        check(*problem(n_points, n_centers, kind), n_cycles)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 9))])
def test_the_order_of_programs_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs with several tiles each, fewer of them for some."""
    monkeypatch.setattr(cuda_grid, "TILE", 16)
    monkeypatch.setattr(cuda_grid, "n_programs", lambda n_tiles, *_: min(n_tiles, 1 + seed))
    with side_by_side(seed):
        check(*problem(150 + 7 * seed, 4, "clouds"), 2)


def test_no_cycle_is_made_where_there_is_nothing_to_split() -> None:
    points = torch.arange(12, dtype=torch.uint8).view(4, 3)
    with side_by_side():
        check(points, torch.ones(4, dtype=torch.int64), points.double(), 4)


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
    with side_by_side():
        found = breathe(there, centers, n_cycles=2, draws=draws)
    again = breathe(ops.grid_points(points, counts), centers, n_cycles=2, draws=expected)
    assert asked == [1]
    assert torch.equal(found[0], again[0])
    assert found[1] == again[1]
    assert draws.random_sample() == expected.random_sample()

"""Greedy k-means++ on colors with counts, compiled and in torch, against the textbook with all distances in NumPy."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.colors.codes import z_order
from gpuquant.ops.seeding import cpu, reference

MODULES = [pytest.param(cpu, marks=needs_numba, id="compiled"), pytest.param(reference, id="torch")]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def by_hand(
    colors: Integers, weights: Integers, uniforms: Floats, n_tried: int, n_clusters: int, least: float = 0
) -> tuple[list[int], int]:
    """One run in whole numbers."""
    chosen = [min(int(np.searchsorted(np.cumsum(weights), uniforms[0] * weights.sum(), "right")), len(colors) - 1)]
    closest = np.square(colors - colors[chosen[0]]).sum(axis=1)
    for start in range(1, 1 + n_tried * (n_clusters - 1), n_tried):
        if weights @ closest < least:
            break
        running = np.cumsum(weights * closest)
        drawn = np.searchsorted(running, uniforms[start : start + n_tried] * running[-1])
        lowered = [np.minimum(closest, np.square(colors - colors[one]).sum(axis=1)) for one in drawn]
        potentials = [weights @ low for low in lowered]
        best = potentials.index(min(potentials))
        chosen.append(int(drawn[best]))
        closest = lowered[best]
    return chosen, int(weights @ closest)


def problem(kind: str, n_colors: int, n_channels: int = 3) -> tuple[Integers, Integers]:
    """Colors in Z-order, and counts."""
    random = np.random.RandomState(n_colors)
    colors = random.randint(0, 256, (n_colors, n_channels))
    if kind == "close":
        colors = (random.randint(0, 256, (7, n_channels))[random.randint(0, 7, n_colors)] + colors // 40).clip(0, 255)
    if kind == "wide":
        colors = random.randint(-512, 512, (n_colors, n_channels))
    if kind == "equal":
        colors[:] = colors[0]
    if kind == "few":
        colors = colors[random.randint(0, 3, n_colors)]
    keys = z_order(torch.from_numpy(np.pad(colors, ((0, 0), (0, 3)))[:, :3].astype(np.uint8))).numpy()
    counts = random.randint(0, 2**21 if kind == "close" else 5, n_colors) * (random.uniform(size=n_colors) < 0.9)
    counts[n_colors // 2] += 1
    return colors[np.argsort(keys, kind="stable")], counts.astype(np.int64)


def check(
    module: ModuleType, colors: Integers, weights: Integers, uniforms: Floats, n_tried: int, n_clusters: int
) -> None:
    dtype = np.uint8 if colors.min() >= 0 else np.int16
    given = torch.from_numpy(colors.astype(dtype)), torch.from_numpy(weights).double()
    index, potentials = module.choose_colors(*given, uniforms, n_tried, n_clusters)
    expected = [by_hand(colors, weights, row, n_tried, n_clusters) for row in uniforms]
    assert index.dtype == np.int64
    assert index.tolist() == [chosen for chosen, _ in expected]
    assert potentials == [potential for _, potential in expected]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", ["uniform", "close", "equal", "few", "wide"])
@pytest.mark.parametrize(
    ("n_colors", "n_clusters", "n_tried"), [(1, 1, 2), (1, 3, 3), (64, 9, 4), (65, 30, 1), (1500, 40, 5), (3000, 2, 2)]
)
def test_centers_are_those_of_the_textbook(
    module: ModuleType, kind: str, n_colors: int, n_clusters: int, n_tried: int
) -> None:
    uniforms = np.random.RandomState(3).uniform(size=(3, 1 + n_tried * (n_clusters - 1)))
    check(module, *problem(kind, n_colors), uniforms, n_tried, n_clusters)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("n_channels", [1, 2, 4])
def test_other_numbers_of_channels(module: ModuleType, n_channels: int) -> None:
    uniforms = np.random.RandomState(n_channels).uniform(size=(1, 1 + 3 * 19))
    check(module, *problem("uniform", 700, n_channels), uniforms, 3, 20)


@pytest.mark.parametrize("module", MODULES)
def test_draws_at_the_ends_of_shares(module: ModuleType) -> None:
    """The first draw passes by an end, and the others do not."""
    colors, _ = problem("uniform", 200)
    weights = np.full(200, 1 << 24)
    for first in (0.0, 0.5, 1 - 2**-53):
        for others in (0.0, 1 - 2**-53):
            check(module, colors, weights, np.array([[first, *[others] * 10]]), 2, 6)
    colors = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3]])  # distances 1, 0, 1, 4 from the second
    check(module, colors, np.array([1, 1, 1, 1]), np.array([[0.25, 1 / 6, 2 / 6]]), 2, 2)
    check(module, colors, np.zeros(4, np.int64), np.array([[0.25, 1 / 6, 2 / 6]]), 2, 2)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("bits", [37, 39, 46, 50, 60, 66])
def test_weights_whose_sums_fit_no_integer(module: ModuleType, bits: int) -> None:
    """Even where a weight itself does not; colors differ, and so do potentials."""
    colors, _ = problem("uniform", 1200)
    random = np.random.RandomState(bits)
    shares = random.uniform(size=1200) ** 9
    weights = torch.from_numpy(np.floor(shares / shares.sum() * 2.0**bits))
    uniforms = random.uniform(size=(2, 1 + 3 * 24))
    index, potentials = module.choose_colors(torch.from_numpy(colors.astype(np.uint8)), weights, uniforms, 3, 25)
    exact = np.array([int(weight) for weight in weights.tolist()], object)  # Python's integers
    expected = [by_hand(colors, exact, row, 3, 25) for row in uniforms]
    assert index.tolist() == [chosen for chosen, _ in expected]
    assert potentials == pytest.approx([potential for _, potential in expected], rel=1e-12)
    run = module.ColorSeeding(torch.from_numpy(colors.astype(np.uint8)), weights)
    for _ in range(2):
        tried = random.randint(0, 1200, 4).tolist()
        closest = run.closest().clamp(max=1 << 20).long().numpy()
        lowered = [np.minimum(closest, np.square(colors - colors[one]).sum(axis=1)) for one in tried]
        reached = [exact @ low for low in lowered]
        assert run.add_best(tried) == tried[reached.index(min(reached))]


@pytest.mark.parametrize("module", MODULES)
@given(
    colors=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=150),
    seed=st.integers(0, 99),
    n_clusters=st.integers(1, 12),
)
@settings(max_examples=60)
def test_any_colors(module: ModuleType, colors: list[tuple[int, int, int]], seed: int, n_clusters: int) -> None:
    """Even without their order, in which groups are only smaller."""
    random = np.random.RandomState(seed)
    weights = random.randint(0, 3, len(colors)) + (np.arange(len(colors)) == 0)
    check(module, np.array(colors), weights, random.uniform(size=(2, 1 + 3 * (n_clusters - 1))), 3, n_clusters)


@pytest.mark.parametrize("module", MODULES)
def test_each_run_ends_below_the_least_potential(module: ModuleType) -> None:
    colors, weights = problem("uniform", 900)
    uniforms = np.random.RandomState(0).uniform(size=(4, 1 + 3 * 29))
    dtype = np.uint8 if colors.min() >= 0 else np.int16
    given = torch.from_numpy(colors.astype(dtype)), torch.from_numpy(weights).double()
    _, middle = by_hand(colors, weights, uniforms[1], 3, 12)
    expected = [by_hand(colors, weights, row, 3, 30, middle + 1) for row in uniforms]
    index, potentials = module.choose_colors(*given, uniforms, 3, 30, least=middle + 1)
    n_centers = min(len(chosen) for chosen, _ in expected)
    assert n_centers <= 12
    assert index.tolist() == [chosen[:n_centers] for chosen, _ in expected]
    assert potentials == [potential for _, potential in expected]


@needs_numba
@pytest.mark.parametrize(("pairs", "n_threads"), [(1, 1), (5000, 2)])
def test_calls_are_cut_and_shared_out(
    pairs: int, n_threads: int, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "PAIRS_AT_ONCE", pairs)
    monkeypatch.setattr(cpu, "PAIRS_WORTH_THREADS", 0)
    set_threads(n_threads)
    test_centers_are_those_of_the_textbook(cpu, "close", 1500, 40, 5)
    test_each_run_ends_below_the_least_potential(cpu)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("scale", [1, 0.3])
def test_candidates_from_elsewhere(module: ModuleType, scale: float) -> None:
    colors, weights = problem("close", 300)
    run = module.ColorSeeding(torch.from_numpy(colors.astype(np.uint8)), torch.from_numpy(weights * float(scale)))
    closest = np.full(300, 1 << 20)
    random = np.random.RandomState(0)
    for n_tried in (1, 4, 4, 4, 4):
        tried = random.randint(0, 300, n_tried).tolist()
        lowered = [np.minimum(closest, np.square(colors - colors[one]).sum(axis=1)) for one in tried]
        best = int(np.argmin([weights @ low for low in lowered]))
        closest = lowered[best]
        assert run.add_best(tried) == tried[best]
        assert run.closest().tolist() == closest.tolist()

"""Sets of colors, their trees and coarser cells, against NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.colors.codes import z_order
from gpuquant.ops import point_dispatch
from gpuquant.ops.points import color_cells, colors, cpu_cells, cpu_coarse, cpu_order
from gpuquant.ops.points.colors import ORIGIN, ColorPoints, shifted
from gpuquant.ops.points.cpu_cells import DEPTH, NEXT, START, ColorCells

LEVELS = st.sampled_from([0, 1, 2, 3, 64, 127, 128, 129, 255])
COLORS = st.lists(st.tuples(LEVELS, LEVELS, LEVELS), min_size=1, max_size=60)
KINDS = pytest.mark.parametrize("kind", [ColorPoints, pytest.param(ColorCells, marks=needs_numba)])


def keys_of(some: Any) -> npt.NDArray[np.int64]:
    """The places in Z-order, bit by bit; of steps their whole levels count."""
    wide = np.asarray(some).reshape(-1, np.shape(some)[-1]).astype(np.int64)
    wide = (wide >> 8) + 128 if np.asarray(some).dtype == np.int16 else wide
    n = wide.shape[1]
    return sum((wide[:, axis] >> bit & 1) << (n * bit + axis) for bit in range(8) for axis in range(n))  # type: ignore


def photo_colors(n_colors: int, seed: int = 0) -> Pixels:
    random = np.random.RandomState(seed)
    middles = random.randint(0, 256, (6, 3))[random.randint(0, 6, n_colors)]
    return (middles + random.normal(0, 9, (n_colors, 3))).clip(0, 255).astype(np.uint8)


@KINDS
@pytest.mark.parametrize("at_once", [1 << 18, 7])
def test_points_are_in_z_order_and_labels_in_the_callers(
    kind: type[ColorPoints], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colors, "COLORS_AT_ONCE", at_once)
    random = np.random.RandomState(0)
    given_colors = np.stack([photo_colors(333), photo_colors(333, seed=1)])
    counts = random.randint(0, 9, (2, 333))
    points = kind(torch.from_numpy(given_colors), torch.from_numpy(counts))
    places = points.caller_order(torch.arange(333).expand(4, -1).contiguous()).numpy()  # two runs on each
    for problem in range(2):
        own, weights, place = points.colors[problem].numpy(), points.weights[problem].numpy(), places[2 * problem]
        assert (np.diff(keys_of(own)) >= 0).all()
        np.testing.assert_array_equal(own[place], given_colors[problem])
        np.testing.assert_array_equal(weights[place], counts[problem])
        np.testing.assert_array_equal(place, places[2 * problem + 1])
        index = torch.tensor([332, 5])
        np.testing.assert_array_equal(points.points_at(problem, index).numpy(), own[index].astype(np.float64))
        every = np.repeat(given_colors[problem], counts[problem], axis=0).astype(np.float64) - ORIGIN
        moments = [len(every), *every.sum(axis=0), np.square(every).sum()]
        np.testing.assert_array_equal(points.moments[problem].numpy(), moments)
        assert points.variance[problem] == pytest.approx(every.var(axis=0).mean(), rel=1e-12)


@settings(max_examples=200)
@given(some=COLORS, is_sorted=st.booleans())
def test_the_order_is_told(some: list[Any], is_sorted: bool) -> None:
    levels = np.array(some, np.uint8)
    if is_sorted:
        levels = levels[np.argsort(keys_of(levels), kind="stable")]
    assert cpu_order.is_in_z_order(levels, 0) == (np.diff(keys_of(levels)) >= 0).all()
    np.testing.assert_array_equal(z_order(torch.from_numpy(levels)).numpy(), keys_of(levels))


@needs_numba
@pytest.mark.parametrize("leaf", [1, 5, 192])
@pytest.mark.parametrize("kind", ["photo", "noise", "one color", "steps", "steps in four columns"])
def test_a_tree_holds_each_color_once(leaf: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_cells, "LEAF", leaf)
    random = np.random.RandomState(0)
    kinds: dict[str, Any] = {
        "photo": photo_colors(2000),
        "noise": random.randint(0, 256, (2000, 3)).astype(np.uint8),
        "one color": np.full((2000, 3), 200, np.uint8),
        "steps": random.normal(0, 6000, (2000, 3)).clip(-(2**15), 2**15 - 1).astype(np.int16),
        "steps in four columns": random.randint(-(2**15), 2**15, (2000, 4)).astype(np.int16),
    }
    some = kinds[kind]
    some = some[np.argsort(keys_of(some), kind="stable")]
    points = shifted(torch.from_numpy(some)).numpy()
    weights = np.random.RandomState(1).randint(0, 4, 2000).astype(np.float64)
    tree = cpu_cells.color_tree(some, weights)
    np.testing.assert_array_equal(tree.levels, some.T)
    n_cells, n_columns = len(tree.cells) - 1, some.shape[1]
    assert len(tree.n_positive) == len(tree.sums) == n_cells
    children: dict[int, list[int]] = {cell: [] for cell in range(n_cells)}
    above: list[int] = []  # the cells around one
    for cell in range(n_cells):
        above = [other for other in above if tree.cells[other, NEXT] > cell]
        assert tree.cells[cell, DEPTH] == len(above) < cpu_cells.DEPTHS
        if above:
            children[above[-1]].append(cell)
        above.append(cell)
        own = slice(tree.cells[cell, START], tree.cells[tree.cells[cell, NEXT], START])
        np.testing.assert_array_equal(tree.middles[cell] - tree.halves[cell], points[own].min(axis=0))
        np.testing.assert_array_equal(tree.middles[cell] + tree.halves[cell], points[own].max(axis=0))
        np.testing.assert_array_equal(tree.sums[cell, :n_columns], weights[own] @ points[own])
        squares = weights[own] @ np.square(points[own]).sum(axis=1)
        np.testing.assert_array_equal(tree.sums[cell, n_columns:], [weights[own].sum(), squares])
        assert tree.n_positive[cell] == (weights[own] > 0).sum()
    for cell, parts in children.items():
        own = slice(tree.cells[cell, START], tree.cells[tree.cells[cell, NEXT], START])
        if parts:
            assert own.stop - own.start > leaf
            starts = tree.cells[parts, START].tolist()
            assert starts == [own.start, *tree.cells[tree.cells[parts[:-1], NEXT], START]]
        else:
            assert own.stop - own.start <= leaf or len(set(keys_of(some[own]))) == 1


STEPS: Any = st.integers(3, 4).flatmap(
    lambda n: st.lists(st.tuples(*[st.sampled_from([-(2**15), -257, -256, -1, 0, 5, 2**15 - 1])] * n), min_size=1)
)


@settings(max_examples=100)
@given(some=STEPS)
def test_colors_are_sorted(some: list[Any]) -> None:
    steps = np.array(some, np.int16)
    expected = np.argsort(keys_of(steps), kind="stable")
    np.testing.assert_array_equal(point_dispatch.in_z_order(torch.from_numpy(steps)), expected)
    np.testing.assert_array_equal(colors.z_keys(torch.from_numpy(steps)[None])[0], keys_of(steps))
    points = ColorPoints(torch.from_numpy(steps)[None], torch.ones(1, len(steps)))
    assert points.colors[0].tolist() == steps[expected].tolist()


@needs_numba
def test_many_colors_are_sorted() -> None:
    steps = np.random.RandomState(0).randint(-(2**15), 2**15, (30_000, 4)).astype(np.int16)
    np.testing.assert_array_equal(
        point_dispatch.in_z_order(torch.from_numpy(steps)), np.argsort(keys_of(steps), kind="stable")
    )


def test_steps_are_levels() -> None:
    levels = torch.tensor([0.0, 127.998, 128.0, 128.0019, 254.99609375, 300.0], dtype=torch.float64)
    steps = colors.as_steps(levels)
    assert steps.tolist() == [-(2**15), -1, 0, 0, 127 * 256 - 1, 2**15 - 1]
    assert colors.whole_levels(steps).tolist() == [0, 127, 128, 128, 254, 255]
    expected = torch.tensor([0, 128 - 1 / 256, 128, 128, 255 - 1 / 256, 256 - 1 / 256], dtype=torch.float64)
    assert torch.equal(colors.levels_of(steps), expected)


@pytest.mark.parametrize(
    "coarsen",
    [pytest.param(cpu_coarse.coarsen, marks=needs_numba, id="compiled"), pytest.param(color_cells.coarsen, id="torch")],
)
@settings(max_examples=100)
@given(
    some=COLORS.map(lambda some: np.array(some, np.uint8)) | STEPS.map(lambda some: np.array(some, np.int16)),
    counts=st.integers(0, 2**32 - 1),
)
def test_cells_have_the_means_of_their_pixels(coarsen: Any, some: Any, counts: int) -> None:
    levels = np.unique(some, axis=0)
    unit = 1 if some.dtype == np.uint8 else 2**16
    levels = levels[np.argsort(keys_of(levels))]
    numbers = np.random.RandomState(counts).randint(1, 10**6, len(levels))
    for bits, found in zip(
        (7, 5, 1), coarsen(torch.from_numpy(levels), torch.from_numpy(numbers), (7, 5, 1)), strict=True
    ):
        cells = keys_of(levels) >> levels.shape[1] * (8 - bits)
        error = 0
        for place, cell in enumerate(dict.fromkeys(cells)):
            own, weights = levels[cells == cell].astype(np.int64), numbers[cells == cell]
            mean = np.floor((weights @ own) / weights.sum() + 0.5).astype(np.int64)
            assert found.colors[place].tolist() == mean.tolist()
            assert int(found.counts[place]) == weights.sum()
            error += int(weights @ np.square(own - mean).sum(axis=1))
        assert len(found.counts) == len(set(cells))
        assert found.error == pytest.approx(error / numbers.sum() / unit, rel=1e-14)


def test_tensors_of_any_type_come_to_the_host_together() -> None:
    given_there = torch.arange(5), torch.rand(2, 2).double()[:, :1], torch.arange(15, dtype=torch.uint8).view(5, 3)
    found = point_dispatch._to_host(*given_there)
    assert all(map(torch.equal, found, given_there))

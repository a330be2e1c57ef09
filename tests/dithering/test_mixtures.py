"""Mixtures of palette entries, against linear and quadratic programs of SciPy's, and cases worked by hand."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import linprog, nnls

from gpuquant import ops
from gpuquant.dithering import mixtures
from gpuquant.dithering.methods import CLOSE_ENTRIES, FEW_ENTRIES, OWN
from gpuquant.dithering.mixtures import LEAST, WHOLE, GrainCosts, mix_colors
from gpuquant.dithering.regions import find_regions
from gpuquant.dithering.triangulation import triangulate

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
EXACT = 1e-7  # a cost of grain at which means are off by less than what is written down
ROUNDING = 2.0**-9  # of a share: slopes are written down in steps of 2^-19 for a level


def drawn(n_entries: int, low: int = 0, high: int = 256) -> Pixels:
    random = np.random.RandomState(n_entries + low)
    return random.randint(low, high, (n_entries, 3)).astype(np.uint8)


def steps(n: int) -> Pixels:
    levels = np.linspace(0, 255, n).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)


PALETTES: dict[str, Pixels] = {
    "one": np.array([[3, 4, 5]], np.uint8),
    "one, many times": np.full((7, 3), 90, np.uint8),
    "two": np.array([[3, 4, 5], [9, 9, 0]], np.uint8),
    "on a line": np.arange(0, 256, 17)[:, None].repeat(3, axis=1).astype(np.uint8),
    "three": np.array([[3, 4, 5], [9, 9, 0], [200, 1, 1]], np.uint8),
    "in a plane": np.column_stack([drawn(40)[:, :2], np.full(40, 9, np.uint8)]),
    "in a slanted plane": (np.random.RandomState(1).randint(0, 9, (40, 2)) @ [[12, 5, 9], [3, 20, 1]]).astype(np.uint8),
    "four": np.array([[3, 4, 5], [9, 9, 0], [200, 1, 1], [0, 0, 0]], np.uint8),
    "a cube": steps(2),
    "cubes": steps(4),
    "close together": drawn(30, 80, 150),
    "sixteen": drawn(16),
    "many": drawn(256),
    "with twins": np.concatenate([drawn(16), drawn(16)[::-1]]),
}


def mixtures_of(
    colors: Pixels, palette: Pixels, strength: float, costs: GrainCosts
) -> tuple[npt.NDArray[np.int64], Floats]:  # [M, 4] entries, [M, 4] shares
    """The mixtures as written down."""
    every = torch.arange(len(palette))
    found = mix_colors(torch.from_numpy(colors), torch.from_numpy(palette), every, strength, costs)
    forms = found.forms.numpy()[found.numbers.numpy()]
    fields = (forms[:, :3] * colors).sum(axis=1) + forms[:, 3]
    limits = (fields[:, None] >> np.arange(0, 3 * ops.FIELD_BITS, ops.FIELD_BITS) & (1 << ops.FIELD_BITS) - 1) - LEAST
    assert np.diff(limits, axis=1).min() > -ROUNDING * WHOLE
    assert -ROUNDING * WHOLE < limits.min() <= limits.max() < (1 + ROUNDING) * WHOLE
    rising = np.maximum.accumulate(limits.clip(0, WHOLE), axis=1)  # as far as a mask sees it
    shares = np.diff(np.column_stack([np.zeros(len(colors)), rising, np.full(len(colors), WHOLE)]), axis=1) / WHOLE
    return forms[:, 4:] >> np.arange(0, 64, 16) & 0xFFFF, shares


def mixed(colors: Pixels, palette: Pixels, cost: float | GrainCosts, strength: float = 1.0) -> tuple[Floats, Floats]:
    """The weights of all entries, [M, K], and the means, [M, 3]."""
    entries, shares = mixtures_of(
        colors, palette, strength, cost if isinstance(cost, GrainCosts) else GrainCosts((cost,))
    )
    weights = np.zeros((len(colors), len(palette)))
    for place in range(4):
        np.add.at(weights, (np.arange(len(colors)), entries[:, place]), shares[:, place])
    return weights, weights @ palette.astype(np.float64)


def nearest_in_hull(colors: Pixels, palette: Pixels) -> Floats:
    """By non-negative least squares, with a large weight on the sum of the weights."""
    heavy = 1e4
    left = np.vstack([palette.T.astype(np.float64), np.full(len(palette), heavy)])
    found = [nnls(left, np.append(color.astype(np.float64), heavy))[0] for color in colors]
    return np.array(found) @ palette.astype(np.float64)


@pytest.mark.parametrize("name", PALETTES)
def test_exact_mixtures_have_the_mean_and_the_least_grain(name: str) -> None:
    palette, colors = PALETTES[name], drawn(40)
    weights, means = mixed(colors, palette, EXACT)
    targets = nearest_in_hull(colors, palette)
    np.testing.assert_allclose(means, targets, atol=0.2)
    entries = palette.astype(np.float64)
    for weight, mean in zip(weights, means, strict=True):
        grain = np.square(entries - mean).sum(axis=1)
        limits = np.vstack([entries.T, -entries.T]), np.concatenate([mean + 1e-6, 1e-6 - mean])
        least = linprog(grain, *limits, np.ones((1, len(entries))), [1])
        assert weight @ grain <= least.fun + 0.2 + 2e-3 * least.fun


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("grain_cost", [0.001, 0.12, 3.0])
def test_mixtures_have_the_lowest_cost(name: str, grain_cost: float) -> None:
    palette, colors = PALETTES[name], drawn(25)
    weights, means = mixed(colors, palette, grain_cost)
    entries = palette.astype(np.float64)
    for color, weight, mean in zip(colors.astype(np.float64), weights, means, strict=True):
        apart = np.square(entries - color).sum(axis=1)
        cost = np.square(mean - color).sum() + grain_cost * weight @ apart
        # convex: no entry lowers it if none does at first; the derivative along the way to an entry, from the mixture
        slopes = 2 * (entries - mean) @ (mean - color) + grain_cost * (apart - weight @ apart)
        assert slopes.min() >= -0.01 * cost - 8 - 100 * grain_cost  # shares are rounded


def test_more_cost_of_grain_is_less_grain_and_means_that_are_off() -> None:
    palette = PALETTES["many"]
    colors = (palette[:100].astype(int) + palette[100:200]) // 2
    _, exact = mixed(colors.astype(np.uint8), palette, EXACT)
    grains, offs = [], []
    for cost in (EXACT, 0.001, 0.12, 1.0):
        weights, means = mixed(colors.astype(np.uint8), palette, cost)
        offs.append(np.sqrt(np.square(means - exact).sum(axis=1)).mean())
        grains.append((weights * np.square(palette[None].astype(float) - means[:, None]).sum(axis=2)).sum())
    assert grains == sorted(grains, reverse=True)
    assert offs == sorted(offs)
    assert offs[1] < 0.2
    assert grains[2] < 0.9 * grains[0]


@pytest.mark.parametrize("most_moved", [math.inf, 1.5])
def test_a_mean_may_be_off_where_the_grain_is_many_times_less(most_moved: float) -> None:
    """A thin palette: grays, and some a little beside them, which exact means would take."""
    grays = np.arange(0, 256, 15)[:, None].repeat(3, axis=1)
    palette = np.array([*grays, [2, 0, 0], [250, 255, 250], [128, 128, 131]], np.uint8)
    middles = np.random.RandomState(0).randint(5, 250, (500, 1)).repeat(3, axis=1)
    colors: Pixels = np.add(middles, [1, 0, 1]).astype(np.uint8)
    grains, means = [], []
    for costs in (GrainCosts((0.005,)), GrainCosts((0.005, 0.12), most_moved), GrainCosts((0.12,))):
        weights, mean = mixed(colors, palette, costs)
        grains.append((weights * np.square(palette[None].astype(float) - colors[:, None]).sum(axis=2)).sum(axis=1))
        means.append(mean)
    moved = np.sqrt(np.square(means[2] - means[0]).sum(axis=1))
    better = (grains[0] > 2.2 * grains[2]) & (moved < 0.95 * most_moved)
    assert better.any()
    assert not better.all()
    np.testing.assert_allclose(grains[1][better], grains[2][better])
    far = moved > 1.05 * most_moved
    assert far.any() == (most_moved < math.inf)
    stay = far | (grains[0] < 1.8 * grains[2])
    assert stay.any()
    np.testing.assert_allclose(means[1][stay], means[0][stay])


@pytest.mark.parametrize("costs", [OWN, CLOSE_ENTRIES, FEW_ENTRIES])
def test_entries_are_themselves_for_any_strength(costs: GrainCosts) -> None:
    palette = drawn(40)
    palette[7] = palette[3]
    for strength in (0.01, 0.5, 1.0):
        weights, means = mixed(palette, palette, costs, strength)
        np.testing.assert_array_equal(means, palette)
        assert (weights.max(axis=1) == 1).all()


def test_strength_narrows_what_is_mixed_to_the_middle() -> None:
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    ends = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    whole, half = (mixed(grays, ends, EXACT, strength)[1][:, 0] / 255 for strength in (1.0, 0.5))
    np.testing.assert_allclose(whole, np.arange(256) / 255, atol=1e-3)
    np.testing.assert_allclose(half, ((np.arange(256) / 255 - 0.5) * 2 + 0.5).clip(0, 1), atol=1e-3)


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_strength_divides_differences_and_moves_back_to_the_nearest_weights(strength: float) -> None:
    palette, colors = drawn(16), drawn(200)
    whole, _ = mixed(colors, palette, OWN)
    weak, _ = mixed(colors, palette, OWN, strength)
    for before, after in zip(whole, weak, strict=True):
        used = before > 0
        wide = before[used] / strength
        # the nearest point of the simplex is wide - t, cut at 0, where t makes it add up to 1
        low, high = wide.min() - 1, wide.max()
        for _ in range(60):
            low, high = (
                ((low + high) / 2, high) if (wide - (low + high) / 2).clip(0).sum() > 1 else (low, (low + high) / 2)
            )
        np.testing.assert_allclose(after[used], (wide - low).clip(0), atol=0.03)
        assert after[~used].max() < 0.01


def test_entries_lie_along_a_line_from_light_to_dark() -> None:
    """Black lies between green and red, which are farthest apart; green is lighter than red."""
    palette = np.array([[0, 0, 0], [250, 0, 0], [0, 240, 0]], np.uint8)
    entries, shares = mixtures_of(np.array([[100, 90, 10]], np.uint8), palette, 1.0, GrainCosts((EXACT,)))
    assert entries[0, :3].tolist() == [2, 0, 1]
    np.testing.assert_allclose(shares[0], [0.375, 0.225, 0.4, 0], atol=0.01)
    grays = np.array([[0], [200], [100], [255]], np.uint8).repeat(3, axis=1)
    entries, _ = mixtures_of(np.full((1, 3), 120, np.uint8), grays, 1.0, GrainCosts((EXACT,)))
    assert entries[0, :2].tolist() == [1, 2]


@pytest.mark.parametrize("costs", [OWN, CLOSE_ENTRIES, FEW_ENTRIES])
def test_parts_change_nothing(costs: GrainCosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbors that lie nearer than a wall are not looked for again: each alone, they are. Some lie in walls."""
    levels = np.arange(100, 110)
    near = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    colors = np.concatenate([near, drawn(1000)])
    for palette in (drawn(64), steps(2), steps(4)):
        whole = mixed(colors, palette, costs)
        for n_colors in (1, 7):
            with monkeypatch.context() as patched:
                patched.setattr(mixtures, "AT_ONCE", n_colors)
                parts = mixed(colors, palette, costs)
            for before, after in zip(whole, parts, strict=True):
                np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", PALETTES)
def test_walls_lie_between_two_regions(name: str) -> None:
    """A color in the middle of a region has no weight below 0, and is on the outer side of all walls of others."""
    regions = find_regions(PALETTES[name], (0.12,))
    assert sorted(set(regions.entries[regions.sizes == 1][:, 0])) == sorted(
        np.unique(PALETTES[name], axis=0, return_index=True)[1]
    )
    for region, size in enumerate(regions.sizes):
        assert (regions.behind[region, size:] == -1).all()
        for corner in range(size if size > 1 else 0):
            kept = np.delete(regions.entries[region, :size], corner)
            other = regions.behind[region, corner]
            assert set(regions.entries[other, : size - 1]) == set(kept)
            fronts = regions.fronts[regions.first_front[other] : regions.first_front[other + 1]]
            assert 4 * region + corner in fronts
    colors = drawn(300)
    here = regions.of(colors, 0)
    shares = regions.shares(colors, here)
    assert shares.min() > -1e-3
    np.testing.assert_allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize("name", PALETTES)
def test_simplices_fill_the_hull_and_their_spheres_are_empty(name: str) -> None:
    found = triangulate(PALETTES[name])
    corners = found.points[found.simplices]  # [T, 4, 3]
    ways = corners[:, 1:] - corners[:, :1]
    volumes = np.abs(np.linalg.det(ways)) / 6
    assert volumes.min() > 0.1  # levels are integers: a sixth at least
    right = np.square(ways).sum(axis=2) / 2
    middles = np.linalg.solve(ways, right[:, :, None])[:, :, 0]
    radii = np.square(middles).sum(axis=1)
    apart = np.square(found.points[None] - (corners[:, 0] + middles)[:, None]).sum(axis=2)
    assert (apart >= radii[:, None] * (1 - 1e-9) - 1).all()
    assert set(found.entries.tolist()) == set(np.unique(PALETTES[name], axis=0, return_index=True)[1].tolist())
    if len(found.points) == len(found.entries):
        from scipy.spatial import ConvexHull

        assert volumes.sum() == pytest.approx(ConvexHull(found.points).volume)


def test_without_numba_it_takes_longer_and_gives_the_same() -> None:
    code = """
import sys, warnings
if {hidden}:
    sys.modules["numba"] = None
warnings.simplefilter("always")
import numpy as np, torch, gpuquant
image = np.random.RandomState(0).randint(0, 256, (40, 30, 4)).astype(np.uint8)
image[:, :20, 3] = 255
levels = range(0, 256, 85)
cubes = [(red, green, blue) for red in levels for green in levels for blue in levels]  # many grays lie in walls
for part in (image[:, :20, :3], image[:, :20, 0], image):
    part = np.ascontiguousarray(part)
    for palette in (gpuquant.quantize(part, 9).palette, np.array(cubes, np.uint8)):
        for method in ("blue-noise", "floyd-steinberg"):
            print(gpuquant.apply_palette(part, palette, dither=method).labels.tolist())
"""
    done: list[Any] = [
        subprocess.run([sys.executable, "-c", code.format(hidden=hidden)], capture_output=True, text=True, check=True)
        for hidden in (False, True)
    ]
    assert done[0].stdout == done[1].stdout
    assert "Numba" not in done[0].stderr
    assert done[1].stderr.count("Numba cannot be imported") == 1

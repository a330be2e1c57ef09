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

from gpuquant.dithering import mixtures
from gpuquant.dithering.mixtures import GRAIN_COST, Slack, mix_colors
from gpuquant.dithering.triangulation import triangulate

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
N_LEVELS = 1 << 14


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


def slack_of(most_off: float) -> Slack:
    return Slack(most_off, 0 if most_off == math.inf else math.inf)


def mixtures_of(
    colors: Pixels, palette: Pixels, strength: float, n_levels: int, slack: Slack
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:  # [M, 4] entries, [M, 3] limits
    """The mixtures as written down."""
    found = mix_colors(torch.from_numpy(colors), torch.from_numpy(palette), strength, n_levels, slack)
    n_bits, records = n_levels.bit_length(), found.records.numpy()
    assert len(found.entries) == len(found.entries.unique(dim=0))
    entries = found.entries.numpy()[records >> 3 * n_bits]
    limits = records[:, None] >> np.arange(0, 3 * n_bits, n_bits) & (1 << n_bits) - 1
    assert (np.diff(limits, axis=1) >= 0).all()
    assert limits.max() <= n_levels
    return entries, limits


def mixed(colors: Pixels, palette: Pixels, most_off: float, strength: float = 1.0) -> tuple[Floats, Floats]:
    """The weights of all entries, [M, K], and the means, [M, 3]."""
    entries, limits = mixtures_of(colors, palette, strength, N_LEVELS, slack_of(most_off))
    ends = np.column_stack([np.zeros(len(colors)), limits, np.full(len(colors), N_LEVELS)])
    shares = np.diff(ends, axis=1) / N_LEVELS
    assert (shares >= 0).all()
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
    weights, means = mixed(colors, palette, 1e-3)
    targets = nearest_in_hull(colors, palette)
    np.testing.assert_allclose(means, targets, atol=0.1)
    entries = palette.astype(np.float64)
    for weight, mean in zip(weights, means, strict=True):
        grain = np.square(entries - mean).sum(axis=1)
        limits = np.vstack([entries.T, -entries.T]), np.concatenate([mean + 1e-6, 1e-6 - mean])
        least = linprog(grain, *limits, np.ones((1, len(entries))), [1])
        assert weight @ grain <= least.fun + 0.1 + 1e-3 * least.fun


@pytest.mark.parametrize("name", PALETTES)
def test_mixtures_that_may_be_off_have_the_lowest_cost(name: str) -> None:
    palette, colors = PALETTES[name], drawn(25)
    weights, means = mixed(colors, palette, math.inf)
    entries = palette.astype(np.float64)
    for color, weight, mean in zip(colors.astype(np.float64), weights, means, strict=True):
        apart = np.square(entries - color).sum(axis=1)
        cost = np.square(mean - color).sum() + GRAIN_COST * weight @ apart
        # convex: no entry lowers it if none does at first; the derivative along the way to an entry, from the mixture
        slopes = 2 * (entries - mean) @ (mean - color) + GRAIN_COST * (apart - weight @ apart)
        assert (
            slopes.min() >= -0.01 * cost - 8
        )  # weights are rounded; the cost is above the lowest by no more than that


def test_means_are_off_as_far_as_allowed_and_no_farther() -> None:
    palette = PALETTES["many"]
    colors = (palette[:100].astype(int) + palette[100:200]) // 2
    _, exact = mixed(colors.astype(np.uint8), palette, 1e-3)
    grains = []
    for most_off in (1e-3, 0.5, 2.0, math.inf):
        weights, means = mixed(colors.astype(np.uint8), palette, most_off)
        if most_off < math.inf:
            assert np.sqrt(np.square(means - exact).sum(axis=1)).max() <= most_off + 0.05
        grains.append((weights * np.square(palette[None].astype(float) - means[:, None]).sum(axis=2)).sum())
    assert grains == sorted(grains, reverse=True)
    assert grains[3] < 0.9 * grains[0]


def test_a_mean_may_be_off_where_the_grain_is_many_times_less() -> None:
    """A thin palette: grays, and some a little beside them, which exact means would take."""
    grays = np.arange(0, 256, 15)[:, None].repeat(3, axis=1)
    palette = np.array([*grays, [2, 0, 0], [250, 255, 250], [128, 128, 131]], np.uint8)
    middles = np.random.RandomState(0).randint(5, 250, (500, 1)).repeat(3, axis=1)
    colors: Pixels = np.add(middles, [1, 0, 1]).astype(np.uint8)
    grains, offs = [], []
    _, exact = mixed(colors, palette, 1e-3)
    for worth in (math.inf, 2.0, 0.0):
        entries, limits = mixtures_of(colors, palette, 1.0, N_LEVELS, Slack(0.2, worth))
        ends = np.column_stack([np.zeros(500), limits, np.full(500, N_LEVELS)])
        shares, levels = np.diff(ends, axis=1) / N_LEVELS, palette[entries].astype(float)
        grains.append((shares * np.square(levels - colors[:, None]).sum(axis=2)).sum(axis=1))
        offs.append(np.abs((shares[:, :, None] * levels).sum(axis=1) - exact).max(axis=1))
    assert offs[0].max() <= 0.3
    better = grains[0] > 2.2 * grains[2]
    assert better.any()
    assert not better.all()
    assert (grains[1][better] < grains[0][better] / 1.9).all()
    assert (offs[1][grains[0] < 1.9 * grains[2]] <= 0.3).all()


@pytest.mark.parametrize("most_off", [0.1, math.inf])
def test_entries_are_themselves_for_any_strength(most_off: float) -> None:
    palette = drawn(40)
    palette[7] = palette[3]
    for strength in (0.01, 0.5, 1.0):
        weights, means = mixed(palette, palette, most_off, strength)
        np.testing.assert_array_equal(means, palette)
        assert (weights.max(axis=1) == 1).all()


def test_strength_narrows_what_is_mixed_to_the_middle() -> None:
    grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    ends = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    whole, half = (mixed(grays, ends, 1e-6, strength)[1][:, 0] / 255 for strength in (1.0, 0.5))
    np.testing.assert_allclose(whole, np.arange(256) / 255, atol=1e-4)
    np.testing.assert_allclose(half, ((np.arange(256) / 255 - 0.5) * 2 + 0.5).clip(0, 1), atol=1e-4)


def test_entries_lie_along_a_line_from_light_to_dark() -> None:
    """Black lies between green and red, which are farthest apart; green is lighter than red."""
    palette = np.array([[0, 0, 0], [250, 0, 0], [0, 240, 0]], np.uint8)
    entries, limits = mixtures_of(np.array([[100, 90, 10]], np.uint8), palette, 1.0, 100, slack_of(0.001))
    assert entries[0, :3].tolist() == [2, 0, 1]
    np.testing.assert_allclose(np.diff(limits[0]), [100 - 40 - 37.5, 40], atol=1)
    grays = np.array([[0], [200], [100], [255]], np.uint8).repeat(3, axis=1)
    entries, _ = mixtures_of(np.full((1, 3), 120, np.uint8), grays, 1.0, 100, slack_of(0.1))
    assert entries[0, :2].tolist() == [1, 2]


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    colors, palette = drawn(1000), drawn(64)
    for most_off in (0.1, math.inf):
        whole = mixed(colors, palette, most_off)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mixtures, "AT_ONCE", 7)
            for before, after in zip(whole, mixed(colors, palette, most_off), strict=True):
                np.testing.assert_allclose(before, after, atol=2 / N_LEVELS * 255)


@pytest.mark.parametrize("most_off", [2.0, math.inf])
def test_neighbors_are_mixed_as_each_alone(most_off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are mixed from the same entries, whose weights are known from the color before."""
    levels = np.arange(100, 110)
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    palette = np.array([[20, 30, 40], [200, 60, 50], [90, 220, 80], [60, 90, 230], [240, 240, 240]], np.uint8)
    together = mixed(colors, palette, most_off)
    monkeypatch.setattr(mixtures, "AT_ONCE", 1)
    for before, after in zip(together, mixed(colors, palette, most_off), strict=True):
        np.testing.assert_allclose(before, after, atol=2 / N_LEVELS * 255)


@pytest.mark.parametrize("name", PALETTES)
def test_simplices_fill_the_hull_and_their_spheres_are_empty(name: str) -> None:
    found = triangulate(PALETTES[name])
    corners = found.points[found.corners.T]  # [T, 4, 3]
    ways = corners[:, 1:] - corners[:, :1]
    volumes = np.abs(np.linalg.det(ways)) / 6
    assert volumes.min() > 0.1  # levels are integers: a sixth at least
    right = np.square(ways).sum(axis=2) / 2
    middles = np.linalg.solve(ways, right[:, :, None])[:, :, 0]
    radii = np.square(middles).sum(axis=1)
    apart = np.square(found.points[None] - (corners[:, 0] + middles)[:, None]).sum(axis=2)
    assert (apart >= radii[:, None] * (1 - 1e-9) - 1).all()
    assert set(found.entries.tolist()) == set(np.unique(PALETTES[name], axis=0, return_index=True)[1].tolist())
    if found.onto is None:
        from scipy.spatial import ConvexHull

        assert volumes.sum() == pytest.approx(ConvexHull(found.points).volume)
    for simplex, neighbor in enumerate(found.neighbors.T):  # neighbors know each other
        for one in neighbor[neighbor >= 0]:
            assert simplex in found.neighbors[:, one]


def test_without_numba_it_takes_longer_and_gives_the_same() -> None:
    code = """
import sys, warnings
if {hidden}:
    sys.modules["numba"] = None
warnings.simplefilter("always")
import numpy as np, torch, gpuquant
image = np.random.RandomState(0).randint(0, 256, (40, 30, 3)).astype(np.uint8)
palette = gpuquant.quantize(image, 9).palette
for method in ("blue-noise", "floyd-steinberg"):
    print(gpuquant.apply_palette(image, palette, dither=method).labels.tolist())
"""
    done: list[Any] = [
        subprocess.run([sys.executable, "-c", code.format(hidden=hidden)], capture_output=True, text=True, check=True)
        for hidden in (False, True)
    ]
    assert done[0].stdout == done[1].stdout
    assert "Numba" not in done[0].stderr
    assert done[1].stderr.count("Numba cannot be imported") == 1

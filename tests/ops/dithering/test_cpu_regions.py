"""The way to the region of each color, in a compiled loop and in torch, against all regions."""

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.dithering.regions import Regions, find_regions
from gpuquant.ops.dithering import cpu_regions
from gpuquant.ops.dithering import reference as torch_dither

both = pytest.mark.parametrize(
    "module", [pytest.param(cpu_regions, marks=needs_numba, id="compiled"), pytest.param(torch_dither, id="torch")]
)
COSTS = [0.0005, 0.12, 3.0]


def drawn(n: int, step: int = 1, seed: int = 0) -> Pixels:
    return (step * np.random.RandomState(seed).randint(0, 255 // step + 1, (n, 3))).astype(np.uint8)


def cube(levels: npt.NDArray[np.int64]) -> Pixels:
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)


PALETTES: dict[str, Pixels] = {
    "one": drawn(1),
    "twins": np.full((7, 3), 90, np.uint8),
    "two": drawn(2),
    "on a line": np.arange(0, 256, 51)[:, None].repeat(3, axis=1).astype(np.uint8),
    "in a plane": cube(np.arange(0, 256, 85))[:16],
    "a cube": cube(np.array([0, 255])),
    "cubes": cube(np.array([0, 100, 200, 250])),
    "sixteen": drawn(16),
    "many": drawn(200, seed=1),
}
COLORS = np.concatenate([cube(np.arange(0, 256, 51)), drawn(60), cube(np.arange(99, 103)), drawn(1)])  # many in walls


def found_by(module: ModuleType, colors: Pixels, regions: Regions) -> npt.NDArray[np.int32]:
    parts = colors, regions.walls, regions.behind, regions.first_front, regions.fronts
    found: npt.NDArray[np.int32] = module.walk_to_regions(*(torch.from_numpy(part) for part in parts)).numpy()
    assert found.dtype == np.int32
    return found


def expected_of(colors: Pixels, palette: Pixels, regions: Regions, grain_cost: float) -> npt.NDArray[np.int64]:
    """Of all regions whose weights are above 0 that of the lowest cost; of equal ones that of the most entries."""
    places, levels = colors.astype(np.float64), palette.astype(np.float64)
    weights = np.einsum("rwa,ca->crw", regions.weights, np.column_stack([places, np.ones(len(places))]))
    slopes = np.abs(regions.weights[:, :, :3]).sum(axis=2)
    inside = (weights > 1e-6 * slopes) | (np.arange(4) >= regions.sizes[:, None])
    entries = levels[regions.entries]
    weights[np.broadcast_to(np.arange(4) >= regions.sizes[:, None], weights.shape)] = 0
    off = np.square(np.einsum("crw,rwa->cra", weights, entries) - places[:, None]).sum(axis=2)
    apart = np.square(entries[None] - places[:, None, None]).sum(axis=3)
    costs = np.where(inside.all(axis=2), off + grain_cost * (weights * apart).sum(axis=2), np.inf)
    lowest = costs.min(axis=1, keepdims=True)
    found: npt.NDArray[np.int64] = ((costs <= lowest + 1e-9 * (1 + lowest)) * regions.sizes).argmax(axis=1)
    return found


@both
@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("grain_cost", COSTS)
def test_the_region_of_the_lowest_cost(module: ModuleType, name: str, grain_cost: float) -> None:
    """Also in walls, where it is the one of the fewest entries, in any order of colors."""
    palette = PALETTES[name]
    regions, colors = find_regions(palette, (grain_cost,)), np.concatenate([COLORS, palette[:20]])
    expected = expected_of(colors, palette, regions, grain_cost)
    np.testing.assert_array_equal(found_by(module, colors, regions), expected)
    order = np.random.RandomState(0).permutation(len(colors))
    np.testing.assert_array_equal(found_by(module, colors[order], regions), expected[order])
    assert len(found_by(module, colors[:0], regions)) == 0
    assert found_by(module, colors[7:8], regions) == expected[7]


@both
@settings(max_examples=60)
@given(data=st.data())
def test_any_palette(module: ModuleType, data: st.DataObject) -> None:
    step, seed = data.draw(st.sampled_from([1, 20, 85])), data.draw(st.integers(0, 1000))
    palette = drawn(data.draw(st.integers(1, 12)), step, seed)
    grain_cost = data.draw(st.sampled_from(COSTS))
    regions, colors = find_regions(palette, (grain_cost,)), drawn(20, data.draw(st.sampled_from([1, step])), seed + 1)
    expected = expected_of(colors, palette, regions, grain_cost)
    np.testing.assert_array_equal(found_by(module, colors, regions), expected)


@both
@pytest.mark.parametrize("most_steps", [0, 1, 3])
@pytest.mark.parametrize("name", ["one", "cubes", "many"])
def test_all_regions_are_looked_at_after_many_steps(
    module: ModuleType, most_steps: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = find_regions(PALETTES[name], (0.12,))
    expected = found_by(module, COLORS, regions)
    monkeypatch.setattr(module, "MOST_STEPS", most_steps)
    np.testing.assert_array_equal(found_by(module, COLORS, regions), expected)


def test_walls_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = find_regions(PALETTES["many"], (0.12,))
    expected = found_by(torch_dither, COLORS, regions)
    monkeypatch.setattr(torch_dither, "WALLS_AT_ONCE", 100)
    np.testing.assert_array_equal(found_by(torch_dither, COLORS, regions), expected)

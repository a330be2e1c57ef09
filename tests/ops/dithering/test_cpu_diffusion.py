"""Floyd-Steinberg along diagonals, against a plain loop over the pixels."""

from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels
from oracles import by_hand

from gpuquant.ops.dithering import cpu_diffusion as error_diffusion
from gpuquant.ops.dithering import reference as torch_dither
from gpuquant.ops.dithering.nearest_table import NearestTable

ENGINES = [error_diffusion, torch_dither]


def found_by(
    engine: ModuleType,
    pixels: Pixels,
    palette: Pixels,
    strength: int = 128,
    still: npt.NDArray[np.bool_] | None = None,
    strips: int = 1,
    limit: int = 255,
) -> npt.NDArray[np.int64]:
    height, width, _ = pixels.shape
    colors, ranks = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    if still is not None:  # a color of its own for every pixel
        colors, ranks = pixels.reshape(-1, 3), np.arange(height * width)
    nearest = NearestTable(torch.from_numpy(palette))
    above = torch.zeros(width, 4, dtype=torch.int16)
    found = []
    for strip in torch.from_numpy(ranks.reshape(height, width).astype(np.int32)).chunk(strips):
        labels, above = engine.diffuse_errors(
            strip,
            torch.from_numpy(colors),
            None if still is None else torch.from_numpy(still.ravel()),
            nearest,
            above,
            limit,
            strength,
        )
        found.append(labels.numpy())
    together: npt.NDArray[np.int64] = np.concatenate(found).astype(np.int64)
    return together


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


SHAPES = [(1, 1), (1, 7), (7, 1), (2, 2), (2, 9), (9, 2), (3, 1), (30, 5), (5, 90), (40, 41), (70, 66)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_diagonals_equal_a_loop(engine: ModuleType, shape: tuple[int, int]) -> None:
    pixels, palette = noise(*shape, 3), noise(5, 3, seed=1)
    np.testing.assert_array_equal(found_by(engine, pixels, palette), by_hand(pixels, palette))


@pytest.mark.parametrize("n_colors", [1, 2, 256, 300, 40_000])
def test_any_size_of_palette(n_colors: int) -> None:
    pixels, palette = noise(12, 17, 3), noise(n_colors, 3, seed=1)
    palette[-1] = palette[0]
    np.testing.assert_array_equal(found_by(error_diffusion, pixels, palette), by_hand(pixels, palette))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("strength", [1, 64, 127])
def test_strength(engine: ModuleType, strength: int) -> None:
    pixels, palette = noise(20, 31, 3), noise(6, 3, seed=1)
    expected = by_hand(pixels, palette, strength)
    np.testing.assert_array_equal(found_by(engine, pixels, palette, strength), expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("limit", "strength"), [(0, 128), (17, 128), (30, 100)])
def test_errors_are_cut(engine: ModuleType, limit: int, strength: int) -> None:
    pixels, palette = noise(20, 31, 3), noise(6, 3, seed=1)
    expected = by_hand(pixels, palette, strength, limit=limit)
    np.testing.assert_array_equal(found_by(engine, pixels, palette, strength, limit=limit), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_that_stand_still(engine: ModuleType) -> None:
    pixels, palette = noise(25, 24, 3), noise(6, 3, seed=1)
    still = np.random.default_rng(2).random((25, 24)) < 0.3
    expected = by_hand(pixels, palette, still=still)
    assert (expected != by_hand(pixels, palette)).any()
    found = found_by(engine, pixels, palette, still=still)
    np.testing.assert_array_equal(found[~still], expected[~still])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(40, 13), (9, 1), (12, 2), (20, 50)])
@pytest.mark.parametrize("strips", [2, 9])
def test_strips_go_on_where_the_one_above_ended(engine: ModuleType, shape: tuple[int, int], strips: int) -> None:
    pixels, palette = noise(*shape, 3), noise(4, 3, seed=1)
    np.testing.assert_array_equal(found_by(engine, pixels, palette, strips=strips), by_hand(pixels, palette))

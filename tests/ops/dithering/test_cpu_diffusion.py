"""Floyd-Steinberg in compiled loops and along diagonals, against a plain loop over the pixels."""

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from hypothesis import given
from hypothesis import strategies as st
from oracles import by_hand

from gpuquant.ops.dithering import cpu_diffusion as cpu_dither
from gpuquant.ops.dithering import reference as torch_dither

COMPILED = pytest.param(cpu_dither, marks=needs_numba, id="compiled")
ENGINES = [COMPILED, pytest.param(torch_dither, id="torch")]


def found_by(
    engine: ModuleType,
    pixels: Pixels,
    palette: Pixels,
    strength: int = 128,
    kept: npt.NDArray[np.int64] | None = None,
    strips: int = 1,
    limit: int = 255,
    allowed: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """The labels, whose counts and errors are checked."""
    height, width, _ = pixels.shape
    rows = torch.arange(height).chunk(strips)
    entries = torch.arange(len(palette)) if allowed is None else torch.from_numpy(allowed)
    falling = torch.zeros(width, 3, dtype=torch.int16)
    labels = torch.from_numpy(np.zeros((height, width), np.uint8 if len(palette) <= 256 else np.uint16))
    counts, total = torch.zeros(len(palette), dtype=torch.int64), 0
    for part in rows:
        strip = slice(int(part[0]), int(part[-1]) + 1)
        n_part, error = engine.diffuse_errors(
            torch.from_numpy(pixels[strip]),
            None if kept is None else torch.from_numpy(kept[strip].astype(np.int32)),
            torch.from_numpy(palette),
            entries,
            falling,
            limit,
            strength,
            labels[strip],
        )
        counts, total = counts + n_part, total + error
    found = labels.numpy().astype(np.int64)
    np.testing.assert_array_equal(counts.numpy(), np.bincount(found.ravel(), minlength=len(palette)))
    apart = np.square(pixels[..., :3].astype(np.int64) - palette[found]).sum(axis=2)
    assert total == apart[np.ones_like(found, bool) if kept is None else kept < 0].sum()
    return found


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


SHAPES = [
    (1, 1),
    (1, 7),
    (7, 1),
    (2, 2),
    (2, 9),
    (9, 2),
    (3, 1),
    (30, 5),
    (5, 90),
    (40, 41),
    (70, 66),
    (67, 300),
    (300, 67),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(engine: ModuleType, shape: tuple[int, int]) -> None:
    pixels, palette = noise(*shape, 3), noise(5, 3, seed=1)
    np.testing.assert_array_equal(found_by(engine, pixels, palette), by_hand(pixels, palette))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_colors", [1, 2, 256, 300, 40_000])
def test_any_size_of_palette(engine: ModuleType, n_colors: int) -> None:
    pixels, palette = noise(12, 17, 3), noise(n_colors, 3, seed=1)
    palette[-1] = palette[0]
    np.testing.assert_array_equal(found_by(engine, pixels, palette), by_hand(pixels, palette))


@pytest.mark.parametrize("engine", ENGINES)
def test_gray_and_a_fourth_column(engine: ModuleType) -> None:
    gray, palette = noise(9, 12, 1), noise(5, 3, seed=1)
    expected = by_hand(gray.repeat(3, axis=2), palette)
    np.testing.assert_array_equal(found_by(engine, gray, palette), expected)
    wide = np.concatenate([gray.repeat(3, axis=2), noise(9, 12, 1, seed=2)], axis=2)
    np.testing.assert_array_equal(found_by(engine, wide, palette), expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_only_entries_that_may_be_taken(engine: ModuleType) -> None:
    pixels, palette, allowed = noise(21, 12, 3), noise(9, 3, seed=1), np.array([1, 4, 8])
    expected = allowed[by_hand(pixels, palette[allowed])]
    np.testing.assert_array_equal(found_by(engine, pixels, palette, allowed=allowed), expected)


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
    kept = np.where(still, 5, -1)
    found = found_by(engine, pixels, palette, kept=kept)
    np.testing.assert_array_equal(found, np.where(still, 5, expected))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(40, 13), (9, 1), (12, 2), (20, 50)])
@pytest.mark.parametrize("strips", [2, 9])
def test_strips_go_on_where_the_one_above_ended(engine: ModuleType, shape: tuple[int, int], strips: int) -> None:
    pixels, palette = noise(*shape, 3), noise(4, 3, seed=1)
    np.testing.assert_array_equal(found_by(engine, pixels, palette, strips=strips), by_hand(pixels, palette))


@needs_numba
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_change_nothing(n_threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(n_threads)
    pixels, palette = noise(210, 700, 3), noise(7, 3, seed=1)
    np.testing.assert_array_equal(found_by(cpu_dither, pixels, palette), found_by(torch_dither, pixels, palette))


@pytest.mark.parametrize("engine", ENGINES)
@given(data=st.data())
def test_any_image(engine: ModuleType, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    random = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    high, n_colors = data.draw(st.sampled_from([2, 9, 256])), data.draw(st.integers(1, 6))  # equal distances, twins
    pixels, palette = (random.integers(0, high, (*size, 3), dtype=np.uint8) for size in (shape, (n_colors,)))
    limit, strength = data.draw(st.integers(0, 255)), data.draw(st.integers(0, 128))
    expected = by_hand(pixels, palette, strength, limit=limit)
    np.testing.assert_array_equal(found_by(engine, pixels, palette, strength, limit=limit), expected)


@needs_numba
@pytest.mark.parametrize("failing", [0, 7, 20])
def test_a_thread_that_fails_ends_all(
    failing: int, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_threads(3)
    calls, loop = iter(range(1000)), cpu_dither._diffuse

    def diffuse(*arguments: Any) -> int:
        if next(calls) == failing:
            raise KeyboardInterrupt
        return int(loop(*arguments))

    monkeypatch.setattr(cpu_dither, "_diffuse", diffuse)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        found_by(cpu_dither, noise(500, 300, 3), noise(7, 3, seed=1))
    assert set(threading.enumerate()) <= before  # others of before may have ended

"""extract_palette() and apply_palette(), against NumPy and quantize()."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import Pixels
from oracles import drawing, seen

import gpuquant
from gpuquant import Palette, apply_palette, extract_palette, quantize
from gpuquant.errors import ArgumentError


def test_labels_are_as_wide_as_the_palette() -> None:
    palette = Palette(np.zeros((300, 3), np.uint8))
    assert apply_palette(np.zeros((2, 2, 3), np.uint8), palette).labels.dtype == np.uint16
    assert apply_palette(np.zeros((2, 2, 4), np.uint8), palette).labels.dtype == np.uint16
    full = Palette(np.zeros((65_536, 3), np.uint8))
    with pytest.raises(ArgumentError, match="no room for clear pixels"):
        apply_palette(np.zeros((2, 2, 4), np.uint8), full)


def check(found: gpuquant.QuantizedImage, pixels: Pixels, palette: Pixels) -> None:
    """Every label is the first of the nearest entries."""
    wide = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    apart = np.square(wide.astype(np.int64)[:, :, None] - palette.astype(np.int64)).sum(axis=-1)
    np.testing.assert_array_equal(np.asarray(found.labels), apart.argmin(axis=2))
    np.testing.assert_array_equal(np.asarray(found.palette.rows), palette)
    np.testing.assert_array_equal(
        np.asarray(found.counts), np.bincount(apart.argmin(axis=2).ravel(), minlength=len(palette))
    )
    assert found.mse == pytest.approx(apart.min(axis=2).mean(), rel=1e-12)


@pytest.mark.parametrize("n_colors", [1, 2, 17, 256, 300, 5000])
def test_every_pixel_gets_the_first_of_the_nearest_entries(n_colors: int) -> None:
    random = np.random.RandomState(n_colors)
    pixels = random.randint(0, 256, (30, 20, 3)).astype(np.uint8)
    palette = random.randint(0, 256, (n_colors, 3)).astype(np.uint8)
    palette[-1] = palette[0]  # twice there
    check(apply_palette(pixels, Palette(palette)), pixels, palette)


def test_gray_and_tensors(china: Pixels) -> None:
    palette = Palette(np.array([[0, 0, 0], [255, 255, 255], [90, 100, 110]], np.uint8))
    check(apply_palette(china[..., 1], palette), china[..., 1], palette.rows)
    found = apply_palette(torch.from_numpy(china), palette)
    assert isinstance(found.labels, torch.Tensor)
    check(found, china, palette.rows)


def test_a_palette_fits_its_own_result(china: Pixels) -> None:
    result = quantize(china, 9)
    again = apply_palette(result.to_array(), result.palette)
    np.testing.assert_array_equal(again.labels, result.labels)
    assert again.mse == 0


@pytest.mark.parametrize("with_clear", [False, True])
def test_transparency_on_either_side(with_clear: bool) -> None:
    pixels = drawing("all kinds")
    rows = np.array([[200, 10, 10, 255], [10, 200, 90, 130], [0, 0, 0, 0]], np.uint8)[: 2 + with_clear]
    found = apply_palette(pixels, Palette(rows[:, :3].copy(), rows[:, 3].copy()))
    expected = np.concatenate([rows[:2], np.zeros((1, 4), np.uint8)])
    np.testing.assert_array_equal(found.palette.rows, expected)  # the image has clear pixels
    apart = np.square(seen(pixels)[:, :, None] - seen(expected)).sum(axis=-1)
    np.testing.assert_array_equal(found.labels, apart.argmin(axis=2))
    assert found.mse == pytest.approx(apart.min(axis=2).mean())
    opaque = apply_palette(pixels[..., :3].copy(), Palette(rows[:, :3].copy(), rows[:, 3].copy()))
    assert len(opaque.palette) == len(rows)


def test_a_palette_of_many_is_that_of_all_pixels(china: Pixels) -> None:
    halves = [china[:50], china[50:]]
    assert extract_palette(iter(halves), 12).hex == quantize(china, 12).palette.hex
    assert extract_palette(china, 12).hex == quantize(china, 12).palette.hex


def test_a_palette_of_opaque_and_transparent_images() -> None:
    pixels = drawing("all kinds")
    opaque = np.dstack([pixels[..., :3], np.full(pixels.shape[:2], 255, np.uint8)])
    both = np.concatenate([pixels, opaque])
    assert extract_palette([pixels, opaque], 7).hex == quantize(both, 7).palette.hex
    assert extract_palette([opaque[..., :3], pixels], 7).hex == quantize(both, 7).palette.hex


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda image: apply_palette(image, cast(Any, 7)), "colors must be"),
        (lambda image: apply_palette(image, Palette(np.zeros((0, 3), np.uint8))), "from 1 to 65536"),
        (lambda image: extract_palette([], 2), "images is empty"),
        (lambda image: extract_palette(image, 0), "n_colors=0"),
        (lambda image: extract_palette(image, 2, max_pixels=0), "max_pixels"),
        (lambda image: extract_palette(image, 2, background="nothing"), "background"),
        (lambda image: apply_palette("none.png", Palette(image[0])), "no such file"),
    ],
)
def test_what_cannot_be_used(call: Any, words: str) -> None:
    with pytest.raises((ArgumentError, OSError), match=words):
        call(np.zeros((2, 2, 3), np.uint8))


def test_a_clear_pixel_changes_no_other_label() -> None:
    """Half of the colors are as near to one gray as to the next."""
    random = np.random.RandomState(0)
    grays = np.arange(0, 256, 16, dtype=np.uint8)
    pixels = np.full((60, 60, 3), 8, np.uint8) + grays[random.randint(0, 15, (60, 60, 1))]
    red = random.randint(0, 8, (60, 60)).astype(np.uint8)
    pixels[..., 0] -= red
    pixels[..., 1] += red
    with_clear = np.insert(pixels, 3, 255, axis=2)
    with_clear[0, 0] = 0
    palette = Palette(np.repeat(grays[:, None], 3, axis=1))
    check(apply_palette(pixels, palette), pixels, palette.rows[:, :3])
    labels = np.asarray(apply_palette(with_clear, palette).labels)
    np.testing.assert_array_equal(labels.ravel()[1:], np.asarray(apply_palette(pixels, palette).labels).ravel()[1:])

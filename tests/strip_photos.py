"""Photos in strips compared with the photos that Pillow reads whole."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

from gpuquant.images import vips
from gpuquant.images.reading import read_photo
from gpuquant.images.strips import StripPhoto, open_strips

needs_vips = pytest.mark.skipif(vips.library() is None, reason="pyvips is not installed")
HEIGHT, WIDTH = 53, 61
PLENTY = 1 << 30


def levels(n_channels: int = 3) -> Pixels:
    """Slopes, which stay what they are in a JPEG, more or less, and some noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.RandomState(0).randint(0, 9, (HEIGHT, WIDTH))
    every = np.stack([x * 4, y * 4 + noise, (x + 2 * y) % 256, 255 - x - y], axis=2)
    return every[:, :, :n_channels].astype(np.uint8)


def with_alpha(pixels: Pixels) -> Pixels:
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)


def assert_same(photo: StripPhoto, source: Path | bytes, rows: tuple[int | None, ...] = (None, 7)) -> None:
    """Check strips against Pillow's pixels, in several passes; and all else that is known of the photo."""
    whole = read_photo(source)
    expected = whole.pixels
    if photo.n_channels == 4 and expected.shape[2:] != (4,):
        expected = with_alpha(expected)  # all of it is opaque
    assert photo.shape == expected.shape[:2]
    assert photo.n_channels == (expected.shape[2] if expected.ndim == 3 else 1)
    for n_rows in rows:
        found = list(photo.strips(n_rows))
        np.testing.assert_array_equal(np.concatenate(found), expected)
        if n_rows:
            assert {len(strip) for strip in found[:-1]} <= {n_rows}
            assert len(found) == -(-len(expected) // n_rows)
    assert photo.notes == whole.notes
    assert photo.icc_profile == whole.icc_profile
    assert photo.other_profile == whole.other_profile
    assert (photo.to_srgb is None) == (whole.to_srgb is None)
    if photo.to_srgb and whole.to_srgb:
        colors = np.random.RandomState(1).randint(0, 256, (99, 3)).astype(np.uint8)
        np.testing.assert_array_equal(photo.to_srgb(colors), whole.to_srgb(colors))


def check(source: Path | bytes, how: str = "decoded") -> None:
    """Check a file with a tiny budget, and with one that all pixels fit."""
    for budget in (0, PLENTY):
        with open_strips(source, budget=budget) as photo:
            assert photo.how.startswith(how)
            assert_same(photo, source)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x112] = orientation
    return block

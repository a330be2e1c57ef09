"""Thumbnails: samples of strips, their means, and what is transparent or has a profile."""

import io

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

from gpuquant.report import thumbnails
from gpuquant.report.similarity import ssim
from gpuquant.report.thumbnails import Samples, Thumbnails, thumbnail


@pytest.mark.parametrize("heights", [[40], [1] * 40, [7, 7, 7, 7, 7, 5], [2, 38]])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_samples_are_those_of_the_whole(
    heights: list[int], channels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "SAMPLED", 12)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 31, *channels), dtype=np.uint8)
    samples, top = Samples((40, 31)), 0
    for height in heights:
        samples.add(pixels[top : top + height])
        top += height
    np.testing.assert_array_equal(samples.values, pixels[::3, ::3])
    samples.add(pixels)  # of another pass
    np.testing.assert_array_equal(samples.values, pixels[::3, ::3])


@pytest.mark.parametrize(("edge", "step"), [(1, 1), (1919, 1), (1920, 3), (4531, 5), (100_000, 105)])
def test_the_distance_is_odd(edge: int, step: int) -> None:
    samples = Samples((1, edge))
    samples.add(np.zeros((1, edge), np.uint8))
    assert samples.values.shape == (1, len(range(0, edge, step)))


def test_a_reader_sees_the_strips_of_every_pass(china: Pixels) -> None:
    samples = Samples((143, 214))
    read = samples.watch(lambda n_rows: (china[top : top + n_rows] for top in range(0, 143, n_rows)))
    for n_rows in (10, 143):
        np.testing.assert_array_equal(np.concatenate(list(read(n_rows))), china)
    np.testing.assert_array_equal(samples.values, china)


def test_a_pixel_is_the_mean_of_those_below_it() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (640, 960, 3), dtype=np.uint8)
    means = pixels[:639].reshape(213, 3, 320, 3, 3).mean((1, 3))
    found = thumbnail(pixels[:639])
    assert found.size == (320, 213)
    np.testing.assert_allclose(np.asarray(found, np.float64), means, atol=1)


def test_small_photos_keep_their_size(china: Pixels) -> None:
    np.testing.assert_array_equal(np.asarray(thumbnail(china)), china)
    gray = np.asarray(thumbnail(china[:, :, 0]))
    np.testing.assert_array_equal(gray, china[:, :, :1].repeat(3, axis=2))
    np.testing.assert_array_equal(np.asarray(thumbnail(china[:, :, :1])), gray)
    assert thumbnail(np.zeros((1, 5000, 3), np.uint8)).size == (320, 1)


def test_transparency_is_laid_onto_white_or_the_background() -> None:
    pixels = np.array([[[200, 100, 0, 0], [200, 100, 0, 255], [200, 100, 0, 51]]], np.uint8)
    white = np.asarray(thumbnail(pixels)).astype(int)
    np.testing.assert_allclose(white[0], [[255, 255, 255], [200, 100, 0], [244, 224, 204]], atol=1)
    blue = np.asarray(thumbnail(pixels, background=(0, 0, 255))).astype(int)
    np.testing.assert_allclose(blue[0], [[0, 0, 255], [200, 100, 0], [40, 20, 204]], atol=1)


def test_stored_colors_are_converted() -> None:
    pixels = np.array([[[10, 20, 30, 255], [40, 50, 60, 255]]], np.uint8)
    for stored in (pixels, pixels[:, :, :3]):
        found = np.asarray(thumbnail(stored, to_srgb=lambda rows: rows[:, ::-1] + 1))
        np.testing.assert_array_equal(found, pixels[:, :, 2::-1] + 1)


def test_both_are_of_the_same_photo(china: Pixels) -> None:
    rows = np.array([[30, 40, 50], [200, 190, 180]], np.uint8)
    labels = (china.mean(axis=2) > 115).astype(np.uint8)
    seen = Thumbnails((143, 214), profile=b"a profile")
    for top in range(0, 143, 50):
        seen.pixels.add(china[top : top + 50])
        seen.labels.add(labels[top : top + 50])
    made = seen.made(rows)
    assert made.ssim == ssim(china, rows[labels])
    for data, pixels in zip(made.encoded(), (china, rows[labels]), strict=True):
        assert data is not None
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", (214, 143))
            assert image.info["icc_profile"] == b"a profile"
            assert image.info["comment"] == b"a thumbnail by gpuquant"
            assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 12

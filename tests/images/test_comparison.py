"""Pictures for people: sizes and pixels of side_by_side."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from gpuquant import ArgumentError, quantize
from gpuquant.images import comparison
from gpuquant.images.comparison import error_map, palette_bar, side_by_side
from gpuquant.images.loading import ImageLike


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def parts(picture: Image.Image, width: int, height: int | None = None) -> tuple[npt.NDArray[np.uint8], ...]:
    """Left picture, gap, right picture."""
    assert picture.mode == "RGB"
    pixels = np.asarray(picture)[:height]
    return pixels[:, :width], pixels[:, width:-width], pixels[:, -width:]


@pytest.mark.parametrize(("height", "width", "gap"), [(7, 9, 2), (1, 1, 2), (4, 500, 5), (300, 2, 2), (3, 1600, 16)])
def test_small_pictures_are_shown_pixel_for_pixel(height: int, width: int, gap: int) -> None:
    original, result = noise(height, width, 3), noise(height, width, 3, seed=1)
    picture = side_by_side(original, result)
    assert picture.size == (2 * width + gap, height)
    left, between, right = parts(picture, width)
    np.testing.assert_array_equal(left, original)
    np.testing.assert_array_equal(right, result)
    assert between.shape[1] == gap
    assert (between == 255).all()


def test_gray_original_is_shown_gray() -> None:
    gray = noise(6, 8)
    left, _, _ = parts(side_by_side(gray, noise(6, 8, 3)), 8)
    np.testing.assert_array_equal(left, np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize(("shape", "shown"), [((10, 3200), (1600, 5)), ((2000, 1000), (800, 1600))])
def test_large_pictures_are_scaled_to_fit(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 200, 30), np.uint8)
    width, height = shown
    picture = side_by_side(image, 255 - image)
    assert picture.size == (2 * width + max(2, width // 100), height)
    left, _, right = parts(picture, width)
    assert (left == (10, 200, 30)).all()
    assert (right == (245, 55, 225)).all()


def test_inputs_are_not_written_to() -> None:
    original, result = noise(5, 1700, 3), noise(5, 1700, 3, seed=1)
    before = original.copy(), result.copy()
    side_by_side(original, result)
    np.testing.assert_array_equal(original, before[0])
    np.testing.assert_array_equal(result, before[1])


@pytest.mark.parametrize("kind", ["array", "tensor", "pillow", "path"])
def test_method_takes_any_kind_of_image(kind: str, tmp_path: Path) -> None:
    image = noise(12, 15, 3)
    result = quantize(image, 4)
    Image.fromarray(image).save(tmp_path / "photo.png")
    originals: dict[str, ImageLike] = {
        "array": image,
        "tensor": torch.from_numpy(image),
        "pillow": Image.fromarray(image),
        "path": tmp_path / "photo.png",
    }
    left, _, right = parts(result.side_by_side(originals[kind]), 15, 12)
    np.testing.assert_array_equal(left, image)
    np.testing.assert_array_equal(right, result.to_array())


def test_method_of_a_tensor_result_and_of_many_colors() -> None:
    image = noise(30, 31, 3)
    result = quantize(torch.from_numpy(image), 300)
    left, _, right = parts(result.side_by_side(torch.from_numpy(image)), 31, 30)
    np.testing.assert_array_equal(left, image)
    np.testing.assert_array_equal(right, result.to_array())


def test_method_shows_gray_beside_its_result() -> None:
    gray = noise(12, 15)
    result = quantize(gray, 4)
    left, _, right = parts(result.side_by_side(gray), 15, 12)
    np.testing.assert_array_equal(left, np.repeat(gray[..., None], 3, axis=2))
    np.testing.assert_array_equal(right, result.to_array())


@pytest.mark.parametrize("shape", [(15, 12, 3), (12, 16, 3), (11, 15, 3), (15, 12)])
def test_original_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    result = quantize(noise(12, 15, 3), 4)
    with pytest.raises(ArgumentError, match="original") as caught:
        result.side_by_side(noise(*shape))
    assert str(shape[:2]) in str(caught.value)
    assert "(12, 15)" in str(caught.value)


def test_unusable_original_is_refused() -> None:
    with pytest.raises(ArgumentError, match="uint8"):
        quantize(noise(12, 15, 3), 4).side_by_side(np.zeros((12, 15, 3), int))


def test_a_bar_is_as_wide_as_the_shares() -> None:
    entries = np.array([[255, 0, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    bar = np.asarray(palette_bar(entries, np.array([0.75, 0.25, 0.0]), 8, 4))
    assert bar.shape == (4, 8, 3)
    assert (bar[:, :6] == (255, 0, 0)).all()
    assert (bar[:, 6:] == (0, 0, 255)).all()


def test_shares_are_written_where_they_have_room() -> None:
    entries = np.array([[255, 255, 255], [0, 0, 0], [90, 90, 90]], np.uint8)
    bar = np.asarray(palette_bar(entries, np.array([0.6, 0.38, 0.02]), 400, 40))
    assert bar[:, :240].min() < 100  # dark ink on white
    assert bar[:, 240:392].max() > 150  # light ink on black
    assert (bar[:, 392:] == 90).all()


@pytest.mark.parametrize("n_entries", [1, 700])
def test_side_by_side_ends_with_the_bar(n_entries: int) -> None:
    image, entries = noise(20, 30, 3), noise(n_entries, 3)
    picture = np.asarray(side_by_side(image, image, entries, np.full(n_entries, 1 / n_entries)))
    assert picture.shape == (20 + 2 + 4, 62, 3)
    np.testing.assert_array_equal(picture[:20, :30], image)
    assert (picture[20:22] == 255).all()
    seen = [tuple(color) for color in picture[22].tolist()]
    assert set(seen) <= {tuple(color) for color in entries.tolist()}
    assert len(set(seen)) == min(n_entries, 62)


def test_an_error_map_is_the_distance() -> None:
    original = np.zeros((2, 3, 3), np.uint8)
    result = original.copy()
    result[0, 0], result[1, 2] = (3, 4, 0), (0, 0, 10)  # 5 and 10 levels away
    result[1, :2] = (0, 10, 0)
    np.testing.assert_array_equal(np.asarray(error_map(original, result)), [[128, 0, 0], [255, 255, 255]])


def test_an_error_map_of_what_is_equal_is_black() -> None:
    image = noise(5, 6, 4)
    assert np.asarray(error_map(image, image)).max() == 0


def test_an_error_map_is_scaled_and_made_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    original, result = noise(3, 3200, 3), noise(3, 3200, 3, seed=1)
    whole = np.asarray(error_map(original, result))
    assert whole.shape == (2, 1600)
    monkeypatch.setattr(comparison, "STRIP_PIXELS", 100)
    np.testing.assert_array_equal(np.asarray(error_map(original, result)), whole)


def test_the_error_map_of_a_result(tmp_path: Path) -> None:
    image = noise(12, 15, 3)
    result = quantize(image, 4)
    apart = np.sqrt(np.square(image.astype(float) - result.to_array()).sum(axis=2))
    shown = np.asarray(result.error_map(image)).astype(float)
    np.testing.assert_allclose(shown, (apart / np.quantile(apart, 0.999) * 255).clip(0, 255), atol=0.51)
    with pytest.raises(ArgumentError, match="original"):
        result.error_map(image[1:])

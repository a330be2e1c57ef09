"""Pictures for people: sizes and pixels of side_by_side."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from gpuquant import ArgumentError, quantize
from gpuquant.comparison import side_by_side
from gpuquant.photo_loading import ImageLike


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def parts(picture: Image.Image, width: int) -> tuple[npt.NDArray[np.uint8], ...]:
    """Left picture, gap, right picture."""
    assert picture.mode == "RGB"
    pixels = np.asarray(picture)
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


def test_grey_original_is_shown_grey() -> None:
    grey = noise(6, 8)
    left, _, _ = parts(side_by_side(grey, noise(6, 8, 3)), 8)
    np.testing.assert_array_equal(left, np.repeat(grey[..., None], 3, axis=2))


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
    left, _, right = parts(result.side_by_side(originals[kind]), 15)
    np.testing.assert_array_equal(left, image)
    np.testing.assert_array_equal(right, result.to_array())


def test_method_of_a_tensor_result_and_of_many_colors() -> None:
    image = noise(30, 31, 3)
    result = quantize(torch.from_numpy(image), 300)
    left, _, right = parts(result.side_by_side(torch.from_numpy(image)), 31)
    np.testing.assert_array_equal(left, image)
    np.testing.assert_array_equal(right, result.to_array())


def test_method_shows_grey_beside_its_result() -> None:
    grey = noise(12, 15)
    result = quantize(grey, 4)
    left, _, right = parts(result.side_by_side(grey), 15)
    np.testing.assert_array_equal(left, np.repeat(grey[..., None], 3, axis=2))
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
        quantize(noise(12, 15, 3), 4).side_by_side(np.zeros((12, 15, 3)))

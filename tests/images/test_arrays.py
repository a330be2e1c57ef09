"""Arrays and tensors as images: what is taken, and the advice for what is not, which is followed here."""

import re
from typing import Any

import numpy as np
import pytest
import torch

import gpuquant
from gpuquant.colors import levels
from gpuquant.errors import ArgumentError
from gpuquant.images.loading import load_photo

RANDOM = np.random.RandomState(0)
PIXELS = RANDOM.randint(0, 256, (6, 5, 3)).astype(np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of ImageNet
NORMALIZED = (PIXELS / 255 - MEAN) / STD
FLOATS = ("float16", "float32", "float64")


def loaded(image: Any) -> np.ndarray:
    found = load_photo(image)
    return found.numpy() if isinstance(found, torch.Tensor) else found.pixels


def advice_on(image: Any) -> str:
    """The advice of the error, which follows its last semicolon."""
    with pytest.raises(ArgumentError) as error:
        load_photo(image)
    return str(error.value).rpartition("; ")[2]


def followed(image: Any) -> np.ndarray:
    """The levels that one gets who does as the error says."""
    code = re.search(r"(?:(?:np|torch)\.nan_to_num)?\(?image.*?(?=, or|, for|$)", advice_on(image))
    assert code
    mean, std = (torch.from_numpy(one) if isinstance(image, torch.Tensor) else one for one in (MEAN, STD))
    return loaded(eval(code[0], {"image": image, "np": np, "torch": torch, "mean": mean, "std": std}))


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_from_0_to_1_are_rounded_to_8_bits(dtype: str) -> None:
    every = np.arange(256, dtype=np.float64).repeat(2).reshape(2, 256).T / 255
    levels = np.arange(256, dtype=np.uint8).repeat(2).reshape(2, 256).T
    np.testing.assert_array_equal(loaded(every.astype(dtype)), levels)
    np.testing.assert_array_equal(loaded(torch.from_numpy(every).to(getattr(torch, dtype))), levels)


def test_any_float_takes_the_nearest_level(monkeypatch: pytest.MonkeyPatch) -> None:
    image = RANDOM.uniform(0, 1, (9, 7, 3))
    image[0, 0] = 0, 1, 0.5 / 255 + 1e-9
    nearest = np.abs(image[..., None] * 255 - np.arange(256)).argmin(axis=-1)
    monkeypatch.setattr(levels, "AT_ONCE", 42)  # two rows at a time
    for given in (image, image.astype(">f8"), image[::-1][::-1], torch.from_numpy(image)):
        np.testing.assert_array_equal(loaded(given), nearest)
    assert loaded(torch.rand(2, 2, 3).bfloat16()).dtype == np.uint8
    assert loaded(torch.rand(5, 5, requires_grad=True)).shape == (5, 5)
    np.testing.assert_array_equal(loaded(np.full((2, 2), 1 + 2e-7, np.float32)), 255)  # off by a rounding


def test_results_are_those_of_the_levels() -> None:
    expected = gpuquant.quantize(PIXELS, 4)
    for image in (PIXELS / 255, (PIXELS / 255).astype(np.float32), torch.from_numpy(PIXELS) / 255):
        found = gpuquant.quantize(image, 4)
        np.testing.assert_array_equal(found.to_array(), expected.to_array())
        assert found.mse == expected.mse
        np.testing.assert_array_equal(found.side_by_side(image), expected.side_by_side(PIXELS))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PIXELS * 1.0, PIXELS),
        ((PIXELS * 1.0).astype(np.float32), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(np.uint16), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (PIXELS.astype(np.int32) * 257, PIXELS),
        (PIXELS * 257.0, PIXELS),
        (PIXELS / 255 * 2 - 1, PIXELS),
        ((PIXELS > 127), (PIXELS > 127) * 255),
        ((PIXELS > 127).astype(np.int32), (PIXELS > 127) * 255),
        (np.where(PIXELS > 250, np.inf, PIXELS / 255), np.where(PIXELS > 250, 255, PIXELS)),
        (np.where(PIXELS > 250, 1.00001, PIXELS / 255), np.where(PIXELS > 250, 255, PIXELS)),
        (NORMALIZED, PIXELS),
        (PIXELS * 1.0 - 128, (PIXELS - PIXELS.min()) / (PIXELS.max() - PIXELS.min()) * 255),
        (PIXELS.astype(np.int16) - 128, (PIXELS - PIXELS.min()) / (PIXELS.max() - PIXELS.min()) * 255),
        (PIXELS.astype(np.uint16) * 16 + 15, (PIXELS * 16.0 + 15) / 4095 * 255),
        (PIXELS * 16.0, PIXELS * 16.0 / 4095 * 255),
        (PIXELS / 255 * 1.05 - 0.02, (PIXELS / 255 * 1.05 - 0.02).clip(0, 1) * 255),
    ],
    ids=str,
)
def test_the_advice_gives_the_right_levels(image: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(followed(image), np.rint(expected))
    np.testing.assert_array_equal(followed(torch.from_numpy(image)), np.rint(expected))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((5, 5), np.nan), r"NaN or infinity; .* np\.nan_to_num\(image, posinf=1, neginf=0\)"),
        (torch.full((5, 5), float("inf")), r"NaN or infinity; .* torch\.nan_to_num\(image, posinf=1, neginf=0\)"),
        (np.arange(25.0).reshape(5, 5) * 1e5, r"float64 from 0 to 2400000; scale it to 0..1, such as"),
        (np.arange(25).reshape(5, 5) - 70000, r"int64 from -70000 to -69976; scale .* such as \(image - -70000\) / 24"),
        (np.linspace(0, 100, 25).reshape(5, 5), r"for levels 0..255 use .*, for 0..100 use image / 100"),
        (np.zeros((5, 5), complex), "got complex128"),
        (np.zeros((5, 5), object), "got object"),
        (np.full((5, 5), "a"), "got <U1"),
    ],
)
def test_what_holds_no_levels_is_refused(image: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        gpuquant.quantize(image)


def test_palettes_are_rounded_as_pictures_are() -> None:
    halves = (np.arange(765) / 3).reshape(-1, 3) / 255
    for dtype in FLOATS:
        rows = np.concatenate([halves, RANDOM.rand(99, 3), [[0, 1, 1 + 2e-7]]]).astype(dtype)
        expected = loaded(rows[:, None])[:, 0]
        for given in (rows, torch.from_numpy(rows), rows.tolist()):
            np.testing.assert_array_equal(gpuquant.Palette(given).rows, expected)


def test_rows_of_pixels_are_no_image() -> None:
    rows = PIXELS.reshape(-1, 3)
    for given in (rows, torch.from_numpy(rows), rows / 255, np.repeat(rows, 2, axis=1)[:, :4]):
        for recipe in (gpuquant.quantize, lambda image: gpuquant.apply_palette(image, gpuquant.Palette(rows))):
            with pytest.raises(ArgumentError, match=rf"reshape\(H, W, {given.shape[1]}\).*image\[\.\.\., None\]"):
                recipe(given)
    assert loaded(rows[:, :, None]).shape == rows.shape  # gray, as asked for


def test_rows_of_pixels_have_the_palette_of_their_image() -> None:
    expected = gpuquant.extract_palette(PIXELS, 4).rows
    rows = PIXELS.reshape(-1, 3)
    for given in (rows, rows / 255, torch.from_numpy(rows), [rows[:11], rows[11:]], iter([rows])):
        np.testing.assert_array_equal(gpuquant.extract_palette(given, 4).rows, expected)
    with_alpha = np.concatenate([rows, np.full((len(rows), 1), 255, np.uint8)], axis=1)
    np.testing.assert_array_equal(gpuquant.extract_palette(with_alpha, 4).rows, expected)


@pytest.mark.parametrize("array", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_shapes(array: Any) -> None:
    assert loaded(array(PIXELS[:, :, :1].copy())).shape == (6, 5)
    np.testing.assert_array_equal(loaded(array(PIXELS[:, :, :1].copy())), PIXELS[:, :, 0])
    for image in (PIXELS.transpose(2, 0, 1).copy(), PIXELS.transpose(2, 0, 1) / 255):
        advice = advice_on(array(image))
        moved = eval(advice.removeprefix("move the channels to the end with "), {"image": array(image), "np": np})
        np.testing.assert_array_equal(loaded(moved), PIXELS)
    for several in (np.stack([PIXELS] * 2), np.stack([PIXELS] * 2).transpose(0, 3, 1, 2) / 255):
        assert (
            advice_on(array(several))
            == "loop over them, give files to quantize_files, or list(images) to extract_palette"
        )
    for shape in ((5,), (6, 5, 2), (6, 5, 7), (1, 1, 1, 1, 1), ()):
        with pytest.raises(ArgumentError, match=r"image must be \[H, W, 3\], \[H, W, 4\] with alpha, or gray \[H, W\]"):
            load_photo(array(np.zeros(shape)))
    for empty in (np.zeros((0, 5, 3)), np.zeros((5, 0, 3)), np.zeros((0, 5))):
        with pytest.raises(ArgumentError, match="image is empty"):
            load_photo(array(empty))


def test_tensors_and_arrays_without_pixels() -> None:
    assert advice_on(torch.zeros(5, 5).to_sparse()) == "use image.to_dense()"
    assert advice_on(torch.zeros(5, 5, device="meta")) == "use one that has values"
    masked = np.ma.masked_array(PIXELS, PIXELS > 9)  # type: ignore[no-untyped-call]
    assert advice_on(masked) == "say what is under the mask, such as with image.filled(0)"
    assert loaded(masked.filled(0)).max() <= 9


def test_which_of_several_images_is_wrong_is_told(tmp_path: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^images\[1\]: image must be"):
        gpuquant.extract_palette([PIXELS, PIXELS.astype(int)])
    assert advice_on([PIXELS, PIXELS]) == "give images one at a time, or files to quantize_files"
    assert advice_on(["a.png", tmp_path]) == "give images one at a time, or files to quantize_files"


def test_lists_are_told_how_to_become_arrays() -> None:
    with pytest.raises(ArgumentError, match=r"got float64$"):
        load_photo(np.float64(1))  # type: ignore[arg-type]
    assert advice_on([[1, 2]]) == "pass np.asarray(image)"
    with pytest.raises(ArgumentError, match=r"got list; pass np\.asarray"):
        gpuquant.extract_palette([[[1, 2, 3]]])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r"got NoneType$"):
        gpuquant.quantize(None)  # type: ignore[arg-type]

"""Dithering through quantize() and apply_palette(): what is seen, what is counted, what stays as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from image_files import swapped_profile
from oracles import by_hand, drawing, seen
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.datasets import load_sample_image

from gpuquant import Palette, QuantizedImage, apply_palette, quantize, quantize_files
from gpuquant.colors import error as metrics
from gpuquant.dithering import methods as dithering
from gpuquant.dithering import registry
from gpuquant.dithering.methods import error_limit
from gpuquant.errors import ArgumentError
from gpuquant.ops import compiled

METHODS = [name for name in registry.METHODS if name != "none"]
both = pytest.mark.parametrize("engine", [pytest.param("compiled", marks=needs_numba), "torch"], indirect=True)
ENDS = Palette(np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
Floats = npt.NDArray[np.float64]


@pytest.fixture
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compiled loops or plain torch, for the CPU in one test."""
    name: str = request.param
    if name == "torch":
        monkeypatch.setattr(compiled, "has_numba", lambda: False)
    return name


def blurred_error(result: QuantizedImage, pixels: Pixels, sigma: float = 1.5) -> float:
    apart = gaussian_filter(result.to_array().astype(np.float64) - pixels, (sigma, sigma, 0))
    return float(np.square(apart).sum(axis=2).mean())


def check_figures(result: QuantizedImage, pixels: Pixels) -> None:
    """Counts and error are those of the written pixels."""
    labels = np.asarray(result.labels)
    np.testing.assert_array_equal(np.asarray(result.counts), np.bincount(labels.ravel(), minlength=len(result.palette)))
    written = result.to_array()
    apart = seen(written) - seen(pixels) if written.shape[2] == 4 else written.astype(np.float64) - pixels
    assert result.mse == pytest.approx(np.square(apart).sum(axis=2).mean(), rel=1e-12)


def test_a_photo_looks_more_like_itself() -> None:
    china: Pixels = load_sample_image("china.jpg").copy()
    plain = blurred_error(quantize(china, 8), china)
    for method, share in (("floyd-steinberg", 0.8), ("blue-noise", 0.82), ("bayer", 0.82)):
        assert blurred_error(quantize(china, 8, dither=method), china) < share * plain


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_colors", [1, 5, 300])
def test_figures_are_of_what_is_written(china: Pixels, method: str, n_colors: int) -> None:
    result = quantize(china, n_colors, dither=method)
    check_figures(result, china)
    assert (np.diff(np.asarray(result.counts)) <= 0).all()  # the most common first
    assert set(result.palette.hex) == set(quantize(china, n_colors).palette.hex)
    given = apply_palette(china, result.palette, dither=method, dither_strength=0.7)
    check_figures(given, china)
    np.testing.assert_array_equal(given.palette.rows, result.palette.rows)


@pytest.mark.parametrize("method", METHODS)
def test_strength_zero_is_none(china: Pixels, method: str) -> None:
    plain, weak = quantize(china, 7), quantize(china, 7, dither=method, dither_strength=0)
    np.testing.assert_array_equal(weak.labels, plain.labels)
    np.testing.assert_array_equal(weak.palette.rows, plain.palette.rows)
    half, full = (quantize(china, 7, dither=method, dither_strength=strength) for strength in (0.5, 1))
    assert plain.mse < half.mse < full.mse


@pytest.mark.parametrize("method", METHODS)
def test_colors_that_are_entries_are_untouched(china: Pixels, method: str) -> None:
    result = quantize(china, 40)
    again = apply_palette(result.to_array(), result.palette, dither=method)
    np.testing.assert_array_equal(again.labels, result.labels)
    assert again.mse == 0
    assert quantize(result.to_array(), 40, dither=method).mse == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [20, 128, 200])
def test_the_mean_of_gray_is_kept(method: str, level: int) -> None:
    result = apply_palette(np.full((128, 256), level, np.uint8), ENDS, dither=method)
    assert result.to_array().mean() == pytest.approx(level, abs=1)


@pytest.mark.parametrize("method", METHODS)
def test_a_ramp_rises(method: str) -> None:
    ramp = np.tile(np.repeat(np.arange(256, dtype=np.uint8), 8), (128, 1))
    means: Floats = apply_palette(ramp, ENDS, dither=method).to_array()[..., 0].reshape(128, 16, -1).mean(axis=(0, 2))
    assert (np.diff(means) > 0).all()
    np.testing.assert_allclose(means, ramp.reshape(128, 16, -1).mean(axis=(0, 2)), atol=3)


def test_floyd_steinberg_equals_a_loop(china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.ascontiguousarray(china[::2, ::2])
    palette = quantize(pixels, 6).palette
    apart = np.sqrt(np.square(palette.rows[:, None].astype(float) - palette.rows).sum(axis=2))
    widest = minimum_spanning_tree(apart).toarray().max()
    half, whole = int(np.ceil(widest / 2)), int(np.ceil(widest))
    assert 0 < half < whole < 255
    given, fitted = (by_hand(pixels, palette.rows, limit=limit) for limit in (whole, half))
    assert (given != fitted).any()
    for n_pixels in (1 << 24, 999):
        monkeypatch.setattr(dithering, "STRIP_PIXELS", n_pixels)
        np.testing.assert_array_equal(apply_palette(pixels, palette, dither="floyd-steinberg").labels, given)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dithering, "_is_close", lambda _: True)
            found = apply_palette(pixels, palette, dither="floyd-steinberg")
        np.testing.assert_array_equal(found.labels, fitted)
    weak = apply_palette(pixels, palette, dither="floyd-steinberg", dither_strength=0.5)
    np.testing.assert_array_equal(weak.labels, by_hand(pixels, palette.rows, strength=64, limit=whole))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("has_alpha", "n_colors"), [(False, 9), (True, 9), (True, 100)])
def test_strips_chunks_and_threads_change_nothing(
    china: Pixels, method: str, has_alpha: bool, n_colors: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = china
    if has_alpha:
        photo = np.concatenate([china, np.full_like(china[..., :1], 255)], axis=2)
        photo[20:60, 30:90, 3] = np.arange(60)
    expected = quantize(photo, n_colors, dither=method).to_array()
    monkeypatch.setattr(dithering, "STRIP_PIXELS", 3000)
    monkeypatch.setattr(dithering, "ORDERED_PIXELS", {"cpu": 3000})
    monkeypatch.setattr(metrics, "COLORS_AT_ONCE", {"cpu": 100})
    found = quantize(photo, n_colors, dither=method, chunk_size=1000)
    np.testing.assert_array_equal(found.to_array(), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_tiny_images(method: str, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    check_figures(quantize(pixels, 2, dither=method), pixels)


@pytest.mark.parametrize("method", METHODS)
def test_gray_and_tensors(china: Pixels, method: str) -> None:
    wide = np.repeat(china[..., :1], 3, axis=2)
    expected = quantize(wide, 6, dither=method)
    found = quantize(torch.from_numpy(china[..., 0].copy()), 6, dither=method)
    assert isinstance(found.labels, torch.Tensor)
    np.testing.assert_array_equal(found.to_array(), expected.to_array())


@both
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["all kinds", "clear and opaque", "opaque and partly"])
@pytest.mark.parametrize("n_colors", [12, 100])  # whose mixtures are numbered in a byte, and in two
def test_only_opaque_pixels_are_dithered(engine: str, method: str, kind: str, n_colors: int) -> None:
    pixels = np.concatenate([drawing(kind), drawing(kind, seed=1)], axis=1)
    pixels[:, 30:, 3] = 255
    plain, result = (quantize(pixels, n_colors, dither=name) for name in ("none", method))
    check_figures(result, pixels)
    before, after = plain.to_array(), result.to_array()
    still = (pixels[..., 3] < 255) | (before[..., 3] < 255)
    np.testing.assert_array_equal(after[still], before[still])
    assert (after[~still][:, 3] == 255).all()
    assert (after[~still] != before[~still]).any()


@both
@pytest.mark.parametrize("method", METHODS)
def test_opaque_entries_are_mixed_and_others_are_not(engine: str, method: str) -> None:
    palette = Palette(
        np.array([[0, 0, 0], [140, 140, 140], [255, 255, 255]], np.uint8), np.array([255, 20, 255], np.uint8)
    )
    found = apply_palette(np.full((128, 128), 120, np.uint8), palette, dither=method)
    assert set(np.unique(found.labels)) == {0, 2}
    assert found.to_array()[..., 0].mean() == pytest.approx(120, abs=1)


@pytest.mark.parametrize("method", METHODS)
def test_a_palette_without_opaque_entries(china: Pixels, method: str) -> None:
    glass = Palette(np.array([[0, 0, 0], [200, 200, 200]], np.uint8), np.array([200, 100], np.uint8))
    plain, found = (apply_palette(china, glass, dither=name) for name in ("none", method))
    np.testing.assert_array_equal(found.labels, plain.labels)
    assert found.mse == pytest.approx(plain.mse)


@pytest.mark.parametrize("method", METHODS)
def test_a_photo_without_opaque_pixels(method: str) -> None:
    clear = apply_palette(np.zeros((5, 7, 4), np.uint8), ENDS, dither=method)
    assert set(np.unique(clear.labels)) == {2}  # an entry that was added
    assert clear.mse == 0


@both
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_colors", [6, 64])
def test_colors_are_dithered_as_they_look(
    engine: str, china: Pixels, method: str, n_colors: int, tmp_path: Path
) -> None:
    path, profile = tmp_path / "swapped.png", swapped_profile()
    Image.fromarray(china).save(path, icc_profile=profile.tobytes())
    srgb = ImageCms.createProfile("sRGB")
    shown = np.asarray(ImageCms.profileToProfile(Image.fromarray(china), profile, srgb, outputMode="RGB"))
    assert (shown != china).any()
    plain, found = quantize(path, n_colors), quantize(path, n_colors, dither=method)
    check_figures(found, shown)
    assert blurred_error(found, shown) < blurred_error(plain, shown)
    kept = quantize(path, n_colors, dither=method, keep_profile=True)
    np.testing.assert_array_equal(kept.to_array(), quantize(china, n_colors, dither=method).to_array())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dither": "atkinson"}, "dither='atkinson' is unknown; use 'none', 'floyd-steinberg', "),
        ({"dither": "bayer", "dither_strength": 1.5}, "dither_strength=1.5 must be a number from 0 to 1"),
        ({"dither_strength": float("nan")}, "dither_strength=nan"),
        ({"dither_strength": True}, "dither_strength=True"),
    ],
)
def test_what_cannot_be_used(settings: dict[str, Any], words: str) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ArgumentError, match=words):
        quantize(image, 2, **settings)
    with pytest.raises(ArgumentError, match=words):
        apply_palette(image, ENDS, **settings)


@pytest.mark.parametrize(
    ("levels", "half", "whole"),
    [
        ([7], 0, 0),
        ([7, 7], 0, 0),
        ([0, 255], 221, 255),
        ([0, 10, 245, 255], 204, 255),
        ([0, 1], 1, 2),
        ([0, 2, 5], 3, 6),
    ],
)
def test_errors_are_cut_at_the_widest_gap_or_half_of_it(levels: list[int], half: int, whole: int) -> None:
    grays = torch.tensor(levels, dtype=torch.uint8)[:, None].expand(-1, 3)
    assert error_limit(grays, close=True) == half
    assert error_limit(grays, close=False) == whole


INKS = Palette(  # black, white, green, blue, red, yellow and orange
    np.array(
        [[0, 0, 0], [255, 255, 255], [0, 255, 0], [0, 0, 255], [255, 0, 0], [255, 255, 0], [255, 128, 0]], np.uint8
    )
)


@pytest.mark.parametrize("method", ["blue-noise", "bayer"])
@pytest.mark.parametrize(
    "color",
    [
        (128, 128, 128),
        (64, 64, 64),
        (3, 3, 3),
        (200, 150, 100),
        (250, 100, 10),
        (40, 90, 30),
        (128, 0, 0),
        (90, 90, 200),
    ],
)
def test_flat_areas_of_few_inks_have_their_mean(method: str, color: tuple[int, int, int]) -> None:
    """Each is a mixture of the inks; two of them are not enough: gray 128 was made of blue and orange."""
    flat = np.broadcast_to(np.array(color, np.uint8), (128, 128, 3)).copy()
    found = apply_palette(flat, INKS, dither=method)
    np.testing.assert_allclose(found.to_array().mean(axis=(0, 1)), color, atol=1.5)


@pytest.mark.parametrize("method", ["blue-noise", "bayer"])
@pytest.mark.parametrize("color", [(200, 100, 50), (30, 60, 200), (230, 30, 30), (60, 40, 120), (120, 200, 170)])
def test_flat_areas_have_their_mean_where_some_entries_lie_close_together(
    method: str, color: tuple[int, int, int]
) -> None:
    grays = np.arange(0, 256, 17, dtype=np.uint8)[:, None].repeat(3, axis=1)
    bright = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)[1:-1]
    flat = np.broadcast_to(np.array(color, np.uint8), (128, 128, 3)).copy()
    found = apply_palette(flat, Palette(np.concatenate([grays, bright])), dither=method)
    np.testing.assert_allclose(found.to_array().mean(axis=(0, 1)), color, atol=2)


@pytest.mark.parametrize("method", METHODS)
def test_a_photo_in_few_inks_looks_like_itself(china: Pixels, method: str) -> None:
    """Colors that no mixture reaches are left out: china.jpg's are all in the hull but for some violets."""
    plain, found = (apply_palette(china, INKS, dither=name) for name in ("none", method))
    assert blurred_error(found, china, 4) < 0.02 * blurred_error(plain, china, 4)


def test_palettes_near_all_colors_may_be_off_for_less_grain(china: Pixels) -> None:
    """The palette is that of the photo, or a given one whose entries lie close together."""
    plain, result = quantize(china, 64), quantize(china, 64, dither="blue-noise")
    assert result.mse < 4 * plain.mse
    given = apply_palette(china, plain.palette, dither="blue-noise")
    assert given.mse < 8 * plain.mse


@pytest.mark.parametrize("shared", [False, True])
def test_batches_are_dithered(china: Pixels, shared: bool, tmp_path: Path) -> None:
    Image.fromarray(china).save(tmp_path / "china.png")
    job = quantize_files(tmp_path, tmp_path / "out", 6, dither="bayer", dither_strength=0.8, shared_palette=shared)
    (outcome,) = job
    alone = quantize(china, 6, dither="bayer", dither_strength=0.8)
    assert outcome.mse == alone.mse
    with pytest.raises(ArgumentError, match="dither='noise' is unknown"):
        quantize_files(tmp_path, tmp_path / "other", 6, dither="noise")

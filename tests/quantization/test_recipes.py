import dataclasses
import gc
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels
from oracles import same
from PIL import Image, ImageFile
from sklearn.cluster import KMeans

from gpuquant.errors import ArgumentError
from gpuquant.quantization.recipes import quantize
from gpuquant.quantization.result import QuantizedImage

KODAK = Path(__file__).parents[3] / "shared" / "photos" / "kodak"


def check(result: QuantizedImage, pixels: Pixels, n_colors: int) -> None:
    """Everything that a result claims, computed anew in NumPy."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    palette, labels = np.asarray(result.palette.colors), np.asarray(result.labels)
    assert palette.shape == (n_colors, 3)
    assert len(np.unique(palette, axis=0)) == n_colors
    assert labels.shape == pixels.shape[:2]
    assert labels.dtype == (np.uint8 if n_colors <= 256 else np.uint16)
    colors, inverse = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    apart = np.stack([np.square(colors.astype(np.int64) - entry).sum(axis=1) for entry in palette.astype(np.int64)])
    found = apart[labels.reshape(-1), inverse.reshape(-1)]  # nearest; on a tie any of the nearest
    np.testing.assert_array_equal(found, apart.min(axis=0)[inverse.reshape(-1)])
    counts = np.bincount(labels.reshape(-1), minlength=n_colors)
    np.testing.assert_array_equal(np.asarray(result.counts), counts)
    assert counts.min() > 0
    assert (np.diff(counts) <= 0).all()
    np.testing.assert_allclose(np.asarray(result.shares), counts / labels.size)
    error = np.square(pixels.astype(np.int64) - result.to_array()).sum(axis=2).mean()
    assert result.mse == pytest.approx(error, rel=1e-12)
    if error:
        assert result.psnr == pytest.approx(10 * np.log10(255**2 / (error / 3)), rel=1e-12)


def rounded_mse(colors: Pixels, counts: npt.NDArray[np.int64], centers: npt.NDArray[np.float64]) -> float:
    apart = [np.square(colors - center).sum(axis=1) for center in centers.round()]
    return float((np.min(apart, axis=0) * counts).sum() / counts.sum())


@pytest.mark.parametrize("n_colors", [1, 2, 8, 16, 17, 256, 300])
def test_a_result_is_what_it_says(china: Pixels, n_colors: int) -> None:
    check(quantize(china, n_colors), china, n_colors)


@pytest.mark.parametrize("n_colors", [4, 16, 64])
def test_error_is_that_of_scikit_learn(china: Pixels, n_colors: int) -> None:
    colors, counts = np.unique(china.reshape(-1, 3), axis=0, return_counts=True)
    theirs = []
    for seed in range(3):
        fit = KMeans(n_colors, n_init=1, random_state=seed).fit(colors.astype(np.float64), sample_weight=counts)
        theirs.append(rounded_mse(colors, counts, fit.cluster_centers_))
    assert quantize(china, n_colors).mse <= 1.02 * np.mean(theirs)


def test_bits_do_not_move(china: Pixels, n_threads: int) -> None:
    torch.set_num_threads(2)
    expected = quantize(china, 12)
    torch.set_num_threads(n_threads)
    for chunk_size in (None, 1000, 10**9):
        assert same(quantize(china, 12, chunk_size=chunk_size), expected)


@pytest.mark.parametrize("n_colors", [5, 6, 4096])
def test_enough_colors_lose_nothing(n_colors: int) -> None:
    pixels = np.array([[[0, 0, 0], [1, 0, 0], [9, 9, 9]], [[255, 0, 0], [0, 0, 7], [0, 0, 7]]], np.uint8)
    result = quantize(pixels, n_colors)
    check(result, pixels, 5)
    assert result.mse == 0
    assert result.psnr == float("inf")
    assert result.converged
    np.testing.assert_array_equal(result.to_array(), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 3), (31, 17)])
def test_odd_sizes(shape: tuple[int, int]) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (*shape, 3)).astype(np.uint8)
    check(quantize(pixels, 3), pixels, min(3, shape[0] * shape[1]))


@pytest.mark.parametrize("span", [2, 3, 5])
@pytest.mark.parametrize("missing", [1, 3])
def test_a_palette_that_rounds_to_duplicates_is_repaired(span: int, missing: int) -> None:
    levels = np.arange(span)
    colors = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3).astype(np.uint8) + 100
    repeats = np.random.RandomState(1).randint(1, 2000, len(colors))
    pixels = np.repeat(colors, repeats, axis=0)[None]
    check(quantize(pixels, len(colors) - missing), pixels, len(colors) - missing)


def test_gray_is_color_with_equal_levels(china: Pixels) -> None:
    gray = china[:, :, 1].copy()
    result = quantize(gray, 6)
    check(result, gray, 6)
    assert same(result, quantize(np.repeat(gray[:, :, None], 3, axis=2), 6))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_pillow_images(china: Pixels, mode: str) -> None:
    image = Image.fromarray(china).convert(mode)
    assert same(quantize(image, 4), quantize(np.array(image.convert("RGB")), 4))


def test_views_and_read_only_arrays(china: Pixels) -> None:
    frozen = china.copy()
    frozen.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(quantize(frozen, 5), quantize(china, 5))
    turned = china[::-1, ::2]
    assert not turned.flags.c_contiguous
    check(quantize(turned, 5), turned, 5)


def test_a_tensor_gives_tensors(china: Pixels) -> None:
    result, expected = quantize(torch.from_numpy(china), 300), quantize(china, 300)
    assert isinstance(result.labels, torch.Tensor)
    assert isinstance(result.counts, torch.Tensor)
    assert isinstance(result.shares, torch.Tensor)
    assert isinstance(result.palette.colors, torch.Tensor)
    assert result.labels.dtype == torch.uint16
    assert same(result, expected)


def test_a_path_is_read(china: Pixels, tmp_path: Path) -> None:
    Image.fromarray(china).save(tmp_path / "china.png")
    assert same(quantize(tmp_path / "china.png", 4), quantize(china, 4))
    assert same(quantize(str(tmp_path / "china.png"), 4), quantize(china, 4))


def test_starts(china: Pixels) -> None:
    given = np.linspace(0, 255, 12).reshape(4, 3)
    for init in ("random", given, torch.from_numpy(given)):
        check(quantize(china, 4, init=init), china, 4)
    best = quantize(china, 12, init="random", n_init=6).mse
    assert best <= quantize(china, 12, init="random").mse
    assert same(quantize(china, 9, random_state=3), quantize(china, 9, random_state=3))
    assert not same(quantize(china, 9, random_state=3), quantize(china, 9, random_state=4))


def test_stops_at_max_iter(china: Pixels) -> None:
    result = quantize(china, 40, init="random", max_iter=2)
    assert (result.n_iter, result.converged) == (2, False)
    check(result, china, 40)


def test_stages_are_timed(china: Pixels) -> None:
    assert list(quantize(china).seconds) == ["read", "count", "cluster", "map"]


def test_a_result_is_frozen_and_keeps_no_photo(china: Pixels) -> None:
    pixels = china.copy()
    result = quantize(pixels, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.mse = 0.0  # type: ignore[misc]
    photo = weakref.ref(pixels)
    del pixels
    gc.collect()
    assert photo() is None
    assert len(result.palette) == 4


def test_images_for_people(china: Pixels) -> None:
    result = quantize(china, 8)
    image = result.to_image()
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), result.to_array())
    assert quantize(china, 300).to_image().mode == "RGB"
    assert result._repr_png_().startswith(b"\x89PNG")
    both = np.asarray(result.side_by_side(china))
    height, width = result.labels.shape
    np.testing.assert_array_equal(both[:height, :width], china)
    np.testing.assert_array_equal(both[:height, -width:], result.to_array())
    with pytest.raises(ArgumentError, match="original"):
        result.side_by_side(china[:-1])


@pytest.mark.skipif(not KODAK.exists(), reason="the Kodak photographs are not there")
def test_a_real_photograph() -> None:
    with Image.open(KODAK / "kodim23.png") as image:
        pixels = np.array(image)
    check(quantize(pixels, 64), pixels, 64)


def test_a_call_leaves_no_trace(china: Pixels) -> None:
    def settings() -> list[object]:
        return [torch.get_num_threads(), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES]

    before, random = settings(), torch.random.get_rng_state()
    quantize(china, 5)
    later: list[object] = []
    thread = threading.Thread(target=lambda: later.extend(settings()))
    thread.start()
    thread.join()
    assert settings() == before
    assert later == before
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.parametrize("kind", ["permuted", "sliced", "turned"])
def test_tensors_that_are_not_contiguous(china: Pixels, kind: str) -> None:
    whole = torch.from_numpy(china)
    tensor = {
        "permuted": whole.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        "sliced": torch.cat([whole, whole[..., :1]], dim=2)[..., :3],
        "turned": whole.transpose(0, 1),
    }[kind]
    assert not tensor.is_contiguous()
    check(quantize(tensor, 9), tensor.numpy(), 9)

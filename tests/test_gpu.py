"""Tests on a CUDA device: results beside those of the CPU, twice the same bits, nothing compiled for other sizes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import gpuquant
from gpuquant.estimator import level_pixels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

Pixels = npt.NDArray[np.uint8]


@pytest.mark.parametrize("n_colors", [1, 2, 16, 17, 256, 300])
def test_quantize_finds_what_the_cpu_finds(china: Pixels, n_colors: int) -> None:
    expected = gpuquant.quantize(china, n_colors, device="cpu")
    for image in (china, torch.from_numpy(china).cuda()):
        found = gpuquant.quantize(image, n_colors, device="cuda")
        np.testing.assert_array_equal(np.asarray(torch.as_tensor(found.labels).cpu()), expected.labels)
        np.testing.assert_array_equal(np.asarray(torch.as_tensor(found.palette.colors).cpu()), expected.palette.colors)
        assert found.mse == expected.mse


@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": 0.5},
        {"target_psnr": 30.0},
        {"effort": "fast"},
        {"dither": "blue-noise"},
        {"dither": "bayer", "dither_strength": 0.5},
        {"dither": "floyd-steinberg"},
    ],
)
def test_what_is_exact_is_the_same(china: Pixels, settings: dict[str, Any]) -> None:
    expected, found = (gpuquant.quantize(china, device=device, **settings) for device in ("cpu", "cuda"))
    assert found.palette.hex == expected.palette.hex
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.mse == expected.mse


@pytest.mark.parametrize("settings", [{"effort": "best"}, {"color_space": "oklab"}])
def test_what_rounds_is_about_as_good(china: Pixels, settings: dict[str, Any]) -> None:
    expected, found = (gpuquant.quantize(china, 32, device=device, **settings) for device in ("cpu", "cuda"))
    assert found.mse == pytest.approx(expected.mse, rel=0.03)


@pytest.mark.parametrize("kind", ["one color", "two colors", "noise"])
def test_pictures_that_no_camera_takes(kind: str) -> None:
    random = np.random.RandomState(0)
    image = {
        "one color": np.full((2000, 2000, 3), 77, np.uint8),
        "two colors": np.where(random.uniform(size=(2000, 2000, 1)) < 0.5, 0, 255).astype(np.uint8).repeat(3, axis=2),
        "noise": random.randint(0, 256, (2000, 2000, 3)).astype(np.uint8),
    }[kind]
    found, expected = gpuquant.quantize(image, 8, device="cuda"), gpuquant.quantize(image, 8, device="cpu")
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("n_columns", [1, 3, 4, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kmeans_finds_what_the_cpu_finds(n_columns: int, dtype: torch.dtype) -> None:
    random = np.random.RandomState(n_columns)
    middles = random.normal(0, 9, (12, n_columns))
    points = torch.from_numpy(middles[random.randint(0, 12, 50_000)] + random.normal(0, 1, (50_000, n_columns)))
    points, weights = points.to(dtype), torch.from_numpy(random.uniform(0, 2, 50_000))
    expected = gpuquant.kmeans(points, 12, weights=weights)
    found, again = (gpuquant.kmeans(points.cuda(), 12, weights=weights.cuda()) for _ in range(2))
    assert torch.equal(found.centers, again.centers)
    assert torch.equal(found.labels, again.labels)
    assert float((found.labels.cpu() == expected.labels).double().mean()) >= 0.9999
    assert float(found.inertia) == pytest.approx(float(expected.inertia), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_columns", [1, 3, 4])
def test_the_estimator_finds_what_the_cpu_finds(china: Pixels, n_columns: int, weighted: bool) -> None:
    pixels = np.concatenate([china, 255 - china[..., :1]], axis=2).reshape(-1, 4).repeat(2, axis=0)[:, :n_columns]
    samples = np.divide(pixels, 255)
    assert level_pixels.fold_pixels(torch.from_numpy(samples).cuda()) is not None
    weights = np.random.RandomState(0).uniform(0, 2, len(samples)) if weighted else None
    settings: dict[str, Any] = {"n_clusters": 8, "random_state": 0}
    expected = gpuquant.KMeans(**settings, device="cpu").fit(samples, sample_weight=weights)
    models = [gpuquant.KMeans(**settings, device="cuda").fit(samples, sample_weight=weights) for _ in range(2)]
    models.append(gpuquant.KMeans(**settings).fit(torch.from_numpy(samples).cuda(), sample_weight=weights))
    for found in models:
        labels = np.asarray(torch.as_tensor(found.labels_).cpu())
        assert (labels == expected.labels_).mean() >= 0.9999
        assert found.inertia_ == pytest.approx(expected.inertia_, rel=1e-6)
    np.testing.assert_array_equal(models[0].cluster_centers_, models[1].cluster_centers_)


def test_other_sizes_compile_nothing_anew() -> None:
    from gpuquant.ops.dithering import cuda as triton_dithering
    from gpuquant.ops.lloyd import cuda as triton_lloyd
    from gpuquant.ops.lloyd import cuda_color_steps as triton_colors
    from gpuquant.ops.pixels import cuda as triton_ops
    from gpuquant.ops.points import cuda as triton_points
    from gpuquant.ops.seeding import cuda as triton_seeding
    from gpuquant.ops.seeding import cuda_pixels as triton_pixels

    def n_compiled() -> int:
        counting = triton_dithering, triton_ops, triton_points
        modules = *counting, triton_lloyd, triton_colors, triton_seeding, triton_pixels
        kernels = [value for module in modules for name, value in vars(module).items() if name.endswith("_kernel")]
        return sum(len(cache[0]) for kernel in kernels for cache in kernel.device_caches.values())

    random, counts = np.random.RandomState(0), []
    for height in (97, 128, 1, 333):
        image = random.randint(0, 256, (height, 256, 3)).astype(np.uint8)
        gpuquant.quantize(image, 8, device="cuda")
        gpuquant.KMeans(8, random_state=0, device="cuda").fit(
            np.divide(np.tile(image, (200, 1, 1)), 255).reshape(-1, 3)
        )
        counts.append(n_compiled())
    assert counts[0] > 0
    assert counts == counts[:1] * len(counts)

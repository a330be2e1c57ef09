"""quantize() beside other quantizers: time, memory, cold start, error. Results are checked: a fast wrong answer fails.

Run: scripts/setup.sh bench, then pytest benchmarks/bench_quantize.py [--sizes 1MP,13MP] [--photos FOLDER]
(nearly two hours; --full: also scikit-learn's KMeans on more than 13.7 megapixels, and every peer on your photos)
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Keep, Pixels, Report, Tell, large_photo, mse_of, rounded_mse, seconds_of, sized_photo
from PIL import Image
from sklearn.cluster import KMeans

import gpuquant
from gpuquant.arguments import MAX_PIXELS
from gpuquant.bench.measuring import Measurement, measure_apart, not_measured, read_pixels, stored
from gpuquant.bench.peers import Quantizer, quantizers
from gpuquant.images.reading import read_photo

ROUNDS = 5
SLOW, SLOW_PIXELS = "scikit-learn KMeans", 13.7e6  # up to which it runs without --full
QUICK = ("gpuquant", "scikit-learn", "libimagequant", "Pillow MED", "Pillow FAST")
MEASURED: dict[str, Any] = {"rounds": ROUNDS, "most_seconds": 60, "limit": 300}
SCALING: dict[str, Any] = {"rounds": ROUNDS, "most_seconds": 5, "limit": 60}


def compare(pixels: Pixels, n_colors: int, every: list[Quantizer], full: bool, **settings: Any) -> list[Measurement]:
    n_pixels = pixels.size // 3
    found = []
    with stored(pixels) as file:
        for one in every:
            if one.name.startswith(SLOW) and n_pixels > SLOW_PIXELS and not full:
                found.append(not_measured(one, n_pixels, "with more than 13.7 megapixels only if --full asks for it"))
            else:
                found.append(measure_apart(one, file, n_colors, **settings))
    return found


def check(found: list[Measurement], n_colors: int) -> None:
    """Ours is the first, and must have K colors, or all, and an error that no other is far below."""
    ours = found[0]
    assert ours.name.startswith("gpuquant"), ours.name
    assert not ours.problem
    assert ours.n_colors == n_colors or ours.mse == 0
    assert ours.mse <= 1.03 * min(one.mse for one in found if one.seconds)


def quick(device: str) -> list[Quantizer]:
    return [one for one in quantizers(device) if one.name.startswith(QUICK)]


def for_plots(device: str) -> list[Quantizer]:
    return [one for one in quick(device) if "effort" not in one.name and "intelex" not in one.name]


@pytest.mark.parametrize("n_colors", [8, 256])
def test_peers(keep: Keep, device: str, size: str, n_colors: int, full: bool) -> None:
    pixels = sized_photo(size)
    if n_colors == 256 and pixels.size > 3 * SLOW_PIXELS and not full:
        pytest.skip("more than 13.7 megapixels with 256 colors: --full")
    found = compare(pixels, n_colors, quantizers(device), full, **MEASURED)
    check(found, n_colors)
    keep(found, device, kind="peers", photo=f"china.jpg, {size}", n_colors=n_colors)


@pytest.mark.parametrize("n_colors", [8, 256])
def test_photos(keep: Keep, device: str, photo: Path, n_colors: int, full: bool) -> None:
    pixels = read_pixels(photo, None, MAX_PIXELS)
    found = compare(pixels, n_colors, quantizers(device) if full else quick(device), full, **MEASURED)
    check(found, n_colors)
    keep(found, device, kind="photos", photo=photo.name, n_colors=n_colors)


@pytest.mark.parametrize("megapixels", [1, 2, 5, 10, 20, 50, 100, 200])
def test_scaling_with_pixels(keep: Keep, device: str, megapixels: int, full: bool) -> None:
    found = compare(sized_photo(f"{megapixels}MP"), 16, for_plots(device), full, **SCALING)
    check(found, 16)
    keep(found, device, kind="pixels", photo=f"china.jpg, {megapixels}MP", n_colors=16)


@pytest.mark.parametrize("n_colors", [2, 4, 8, 16, 32, 64, 128, 256])
def test_scaling_with_colors(keep: Keep, device: str, n_colors: int, full: bool) -> None:
    found = compare(sized_photo("13MP"), n_colors, for_plots(device), full, **SCALING)
    check(found, n_colors)
    keep(found, device, kind="colors", photo="china.jpg, 13MP", n_colors=n_colors)


def test_files(tell: Tell, tmp_path: Path) -> None:
    """Time what stands around the quantizer: decoding and encoding, and a new process for one photo."""
    Image.fromarray(large_photo("china_13mp")).save(tmp_path / "photo.jpg", quality=92)
    photo, out, other = tmp_path / "photo.jpg", tmp_path / "out.png", tmp_path / "other.png"
    result = gpuquant.quantize(photo, 8)
    picture = result.to_image()
    assert picture.mode == "P"
    files = {"save() as PNG": out, "Pillow encodes the same picture": other}
    parts: dict[str, Callable[[], object]] = {
        "Pillow decodes": lambda: np.asarray(Image.open(photo)),
        "read_photo": lambda: read_photo(photo).in_srgb(),
        "quantize() of the file": lambda: gpuquant.quantize(photo, 8),
        "save() as PNG": lambda: result.save(out),
        "Pillow encodes the same picture": lambda: picture.save(other),
        "gpuquant quantize photo.jpg out.png, a new process": lambda: subprocess.run(
            [sys.executable, "-m", "gpuquant", "quantize", photo, out, "-k", "8", "--force"],
            check=True,
            capture_output=True,
        ),
    }
    for name, part in parts.items():
        part()
        times = [seconds_of(part) for _ in range(ROUNDS)]
        beside = f"{min(times):.2f}-{max(times):.2f} s, {ROUNDS} runs"
        if name in files:
            beside = f"{beside}, {files[name].stat().st_size / 1e6:.2f} MB"
        tell(f"a JPEG of 13.7 megapixels, K = 8: {name}, s", statistics.median(times), beside)
    with Image.open(out) as written, Image.open(photo) as read:
        assert written.size == read.size


def _scikit_learn(pixels: Pixels, n_colors: int) -> tuple[float, float]:
    """Seconds of KMeans(n_init=1) on the distinct colors, and the MSE of its rounded centers."""
    histogram = gpuquant.ColorHistogram()
    histogram.add(pixels)
    colors, counts = histogram.colors.numpy(), histogram.counts.numpy()
    model = KMeans(n_colors, n_init=1, random_state=0)
    seconds = seconds_of(lambda: model.fit(colors.astype(np.float64), sample_weight=counts))
    return seconds, rounded_mse(colors, counts, model.cluster_centers_)


@pytest.mark.parametrize(("n_colors", "reach", "aim"), [(8, 0.25, 0.1), (256, 0.4, 0.15)])
@pytest.mark.parametrize("name", ["bryggen_17mp", "mr_lee_13mp", "china_13mp"])
def test_time_against_pillow(
    benchmark: Any, report: Report, name: str, n_colors: int, reach: float, aim: float
) -> None:
    """Both in turn on the same pixels; the ratio is that of the medians."""
    pixels = large_photo(name)
    image = Image.fromarray(pixels)
    result = gpuquant.quantize(pixels, n_colors)
    median_cut, octree = [], []

    def peers() -> None:
        median_cut.append(seconds_of(lambda: image.quantize(n_colors, method=Image.Quantize.MEDIANCUT)))
        octree.append(seconds_of(lambda: image.quantize(n_colors, method=Image.Quantize.FASTOCTREE)))

    benchmark.pedantic(gpuquant.quantize, args=(pixels, n_colors), setup=peers, rounds=ROUNDS)
    ours = benchmark.stats.stats.data

    colors, labels = np.asarray(result.palette.colors, np.int64), np.asarray(result.labels)
    sample = np.random.RandomState(0).choice(labels.size, 20_000, replace=False)
    apart = np.square(pixels.reshape(-1, 3)[sample][:, None].astype(np.int64) - colors).sum(axis=2)
    np.testing.assert_array_equal(apart[np.arange(len(sample)), labels.reshape(-1)[sample]], apart.min(axis=1))
    assert result.mse == pytest.approx(mse_of(pixels, result.to_array()), rel=1e-12)
    assert np.bincount(labels.reshape(-1), minlength=n_colors).min() > 0
    assert result.converged
    quantized = image.quantize(n_colors, method=Image.Quantize.MEDIANCUT)
    other = mse_of(pixels, np.asarray(quantized.convert("RGB")))
    assert result.mse < other

    time_ours, time_cut, time_octree = (statistics.median(times) for times in (ours, median_cut, octree))
    time_sklearn, mse_sklearn = _scikit_learn(pixels, n_colors)
    beside = (
        f"ours {time_ours * 1000:.0f} ms, MSE {result.mse:.2f}; MEDIANCUT {time_cut * 1000:.0f} ms, MSE {other:.2f}; "
        f"FASTOCTREE {time_octree * 1000:.0f} ms; scikit-learn on distinct colors, once, counting apart, "
        f"{time_sklearn:.1f} s, MSE {mse_sklearn:.2f}"
    )
    report(f"time / MEDIANCUT: {name}, K = {n_colors}", time_ours / time_cut, reach, aim, beside)


@pytest.mark.parametrize("n_colors", [8, 256])
def test_memory(report: Report, n_colors: int) -> None:
    pixels = large_photo("mr_lee_13mp")
    with stored(pixels) as file:
        found = measure_apart(quantizers("cpu")[0], file, n_colors, rounds=1, most_seconds=60)
    if found.peak_megabytes is None:
        pytest.skip("needs Linux's peak memory counter")
    assert found.n_colors == n_colors
    what = f"mr_lee_13mp, K = {n_colors}: peak MB above pixels and imports"
    report(what, found.peak_megabytes, 450, 200, f"pixels {pixels.nbytes / 1e6:.0f} MB")


def test_help(report: Report) -> None:
    command = [sys.executable, "-m", "gpuquant", "--help"]
    times = [seconds_of(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)]
    report("gpuquant --help, s", statistics.median(times), 0.5, 0.2, "a new process each")

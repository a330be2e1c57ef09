"""quantize() beside Pillow on large photos: time, memory, cold start. Results are checked: a fast wrong answer fails.

Run: pytest benchmarks/bench_quantize.py
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels, Report, large_photo, mse_of, rounded_mse
from PIL import Image
from sklearn.cluster import KMeans

import gpuquant

ROUNDS = 5


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _scikit_learn(pixels: Pixels, n_colors: int) -> tuple[float, float]:
    """Seconds of KMeans(n_init=1) on the distinct colours, and the MSE of its rounded centers."""
    histogram = gpuquant.ColorHistogram()
    histogram.add(pixels)
    colors, counts = histogram.colors.numpy(), histogram.counts.numpy()
    model = KMeans(n_colors, n_init=1, random_state=0)
    seconds = _seconds(lambda: model.fit(colors.astype(np.float64), sample_weight=counts))
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
        median_cut.append(_seconds(lambda: image.quantize(n_colors, method=Image.Quantize.MEDIANCUT)))
        octree.append(_seconds(lambda: image.quantize(n_colors, method=Image.Quantize.FASTOCTREE)))

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
        f"FASTOCTREE {time_octree * 1000:.0f} ms; scikit-learn on distinct colours, once, counting apart, "
        f"{time_sklearn:.1f} s, MSE {mse_sklearn:.2f}"
    )
    report(f"{name}, K = {n_colors}: time / MEDIANCUT", time_ours / time_cut, reach, aim, beside)


MEMORY = """
import sys
import numpy as np
import gpuquant, gpuquant.quantization

pixels = np.load(sys.argv[1])
status = lambda key: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # starts the peak anew
result = gpuquant.quantize(pixels, int(sys.argv[2]))
assert len(result.palette) == int(sys.argv[2])
print((status("VmHWM") - before) / 1000)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counter")
@pytest.mark.parametrize("n_colors", [8, 256])
def test_memory(report: Report, tmp_path: Path, n_colors: int) -> None:
    pixels = large_photo("mr_lee_13mp")
    np.save(tmp_path / "pixels.npy", pixels)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "pixels.npy"), str(n_colors)]
    peaks = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
    what = f"mr_lee_13mp, K = {n_colors}: peak MB above pixels and imports"
    report(what, statistics.median(peaks), 450, 200, f"pixels {pixels.nbytes / 1e6:.0f} MB")


def test_help(report: Report) -> None:
    command = [sys.executable, "-m", "gpuquant", "--help"]
    times = [_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)]
    report("gpuquant --help, s", statistics.median(times), 0.5, 0.2, "a new process each")

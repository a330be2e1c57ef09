"""The error of quantize() over the Kodak photographs beside scikit-learn's KMeans, pngquant, ffmpeg and Pillow.

scikit-learn's KMeans(n_init=1) runs on the distinct colors with counts; its centers are rounded and the colors
assigned anew, for three seeds, or fewer with many colors. The k-means stage of each effort is timed in turn with
that of the others. And the time that many colors and targets take.

Run: scripts/setup.sh bench, then pytest benchmarks/bench_quality.py
"""

import warnings

import numpy as np
import pytest
from conftest import InTurn, Pixels, Report, Tell, check_quantized, kodak, large_photo, mse_of, rounded_mse
from sklearn.cluster import KMeans

import gpuquant
from gpuquant.bench.measuring import measure
from gpuquant.bench.peers import quantizers

REACH = {  # effort, K: reach and aim; the aim is what the best of many searches leave
    "default": {4: (0.993, 0.993), 16: (0.973, 0.97), 64: (0.988, 0.981), 256: (0.986, 0.9755)},
    "best": {4: (0.993, 0.993), 16: (0.97, 0.97), 64: (0.982, 0.981), 256: (0.977, 0.9755)},
}
WORST = {4: (1.1, 1.05), 16: (1.1, 1.05)}  # the same of the fast effort's worst photo
IOKM = {  # unrounded centers, by a port of Abernathy and Celebi 2022
    "kodim05": {8: 689.97, 16: 389.18, 32: 202.64, 64: 110.80, 128: 63.79, 256: 38.18},
    "kodim23": {8: 1017.66, 16: 485.24, 32: 241.26, 64: 131.98, 128: 75.15, 256: 44.49},
}
PEERS = ("pngquant", "ffmpeg palettegen", "Pillow MEDIANCUT")
N_SEEDS = {4: 3, 16: 3, 64: 2, 256: 1}  # by K: with many colors seeds differ by less, and take minutes
EFFORTS = ("fast", "default", "best")
N_RUNS = 3
N_STARTS, MOST_SEARCHED = 20, 16  # up to which K so many starts take a minute or two
SEARCHED = f"best of {N_STARTS} starts"


def by_scikit_learn(pixels: Pixels, n_colors: int) -> float:
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    errors = []
    for seed in range(N_SEEDS[n_colors]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = KMeans(n_colors, n_init=1, random_state=seed).fit(colors.astype(np.float64), sample_weight=counts)
        errors.append(rounded_mse(colors, counts, fit.cluster_centers_))
    return float(np.mean(errors))


def by_peer(name: str, pixels: Pixels, n_colors: int) -> float:
    """The MSE of a peer of `gpuquant bench`, NaN where it is not installed."""
    peer = next(one for one in quantizers("cpu") if one.name == name)
    found = measure(peer, pixels, n_colors, rounds=1, most_seconds=60)
    return found.mse if found.seconds else float("nan")


@pytest.mark.parametrize("n_colors", [4, 16, 64, 256])
def test_error_over_kodak(report: Report, tell: Tell, n_colors: int) -> None:
    photos = kodak()
    errors: dict[str, list[float]] = {name: [] for name in (*EFFORTS, SEARCHED, *PEERS)}
    seconds: dict[str, list[float]] = {name: [] for name in EFFORTS}
    for effort in EFFORTS:  # warm-up
        gpuquant.quantize(photos["kodim05"], n_colors, effort=effort)
    for pixels in photos.values():
        theirs = by_scikit_learn(pixels, n_colors)
        runs: dict[str, list[float]] = {name: [] for name in EFFORTS}
        for _ in range(N_RUNS):
            for effort in EFFORTS:
                result = gpuquant.quantize(pixels, n_colors, effort=effort)
                runs[effort].append(result.seconds["cluster"])
                if len(runs[effort]) == 1:
                    check_quantized(pixels, result, n_colors)
                    errors[effort].append(result.mse / theirs)
        for effort in EFFORTS:
            seconds[effort].append(float(np.median(runs[effort])))
        if n_colors <= MOST_SEARCHED:
            many = gpuquant.quantize(pixels, n_colors, effort="best", n_init=N_STARTS)
            errors[SEARCHED].append(many.mse / theirs)
        for name in PEERS:
            errors[name].append(by_peer(name, pixels, n_colors) / theirs)
    what = f"Kodak, {len(photos)} photos, K = {n_colors}"
    for name, ratios in errors.items():
        if ratios and not np.isnan(ratios).any():
            row = f"{what}, {name}: MSE / scikit-learn's", float(np.mean(ratios))
            spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
            if name in REACH:
                report(*row, *REACH[name][n_colors], spread)
            else:
                tell(*row, spread)
    if n_colors in WORST:
        number = int(np.argmax(errors["fast"]))
        what_worst = f"{what}, fast, worst: MSE / scikit-learn's"
        report(what_worst, errors["fast"][number], *WORST[n_colors], list(photos)[number])
    default = sum(seconds["default"])
    beside = f"default {1000 * default / len(photos):.0f} ms a photo"
    for effort, reach, aim in (("fast", 0.6, 0.6), ("best", 2, 1.5)):
        report(f"{what}, {effort}: time of k-means / default's", sum(seconds[effort]) / default, reach, aim, beside)


@pytest.mark.parametrize("name", IOKM)
def test_error_beside_published_figures(report: Report, name: str) -> None:
    pixels = kodak()[name]
    ratios = {
        n_colors: gpuquant.quantize(pixels, n_colors).inertia / (pixels.size // 3) / published
        for n_colors, published in IOKM[name].items()
    }
    beside = ", ".join(f"K = {n_colors}: {ratio:.3f}" for n_colors, ratio in ratios.items())
    report(f"{name}: largest MSE / IOKM's, unrounded", max(ratios.values()), 1.0, 1.0, beside)


@pytest.mark.parametrize(("n_colors", "reach", "aim"), [(256, 0.7, 0.4), (1024, 2.5, 1.2), (4096, 6, 3)])
def test_many_colors(report: Report, in_turn: InTurn, n_colors: int, reach: float, aim: float) -> None:
    pixels = large_photo("lake_atitlan_10mp")
    gpuquant.quantize(pixels, 64)  # warm-up
    seconds, results = in_turn({"ours": lambda: gpuquant.quantize(pixels, n_colors)}, N_RUNS, warm_up=False)
    result = results["ours"]
    check_quantized(pixels, result, n_colors)
    beside = f"PSNR {result.psnr:.2f} dB, {result.n_iter} iterations on all colors"
    report(f"lake_atitlan_10mp, K = {n_colors}: seconds", seconds["ours"], reach, aim, beside)


@pytest.mark.parametrize("target", [30, 36, 40])
def test_target(report: Report, tell: Tell, in_turn: InTurn, target: int) -> None:
    pixels = large_photo("lake_atitlan_10mp")
    gpuquant.quantize(pixels, 64)  # warm-up
    seconds, results = in_turn({"ours": lambda: gpuquant.quantize(pixels, target_psnr=target)}, N_RUNS, warm_up=False)
    result = results["ours"]
    n_colors = len(result.palette.colors)
    check_quantized(pixels, result, n_colors)
    assert 10 * np.log10(3 * 255**2 / mse_of(pixels, result.to_array())) >= target
    row = f"lake_atitlan_10mp, target_psnr={target}: seconds", seconds["ours"]
    if target == 40:
        report(*row, 25, 10, f"K = {n_colors}")
    else:
        tell(*row, f"K = {n_colors}")

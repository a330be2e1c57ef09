"""The error of quantize() over the Kodak photographs beside scikit-learn's KMeans and Pillow.

scikit-learn's KMeans(n_init=1) runs on the distinct colours with counts; its centers are rounded and the colours
assigned anew, for random_state 0..4. Run: pytest benchmarks/bench_quality.py
"""

import warnings

import numpy as np
import pytest
from conftest import PHOTOS, Report, rounded_mse
from PIL import Image
from sklearn.cluster import KMeans

import gpuquant


@pytest.mark.parametrize("n_colors", [4, 16, 64, 256])
def test_error_over_kodak(report: Report, n_colors: int) -> None:
    paths = sorted((PHOTOS / "kodak").glob("*.png"))
    if not paths:
        pytest.skip("the Kodak photographs are not there")
    ours, median_cut = [], []
    for path in paths:
        image = Image.open(path).convert("RGB")
        pixels = np.array(image)
        colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        theirs = []
        for seed in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = KMeans(n_colors, n_init=1, random_state=seed).fit(colors.astype(np.float64), sample_weight=counts)
            theirs.append(rounded_mse(colors, counts, fit.cluster_centers_))
        result = gpuquant.quantize(pixels, n_colors)
        apart = pixels.astype(np.int64) - result.to_array()
        assert result.mse == pytest.approx(float(np.square(apart).sum(axis=2).mean()), rel=1e-12)
        ours.append(result.mse / np.mean(theirs))
        cut = np.asarray(image.quantize(n_colors, method=Image.Quantize.MEDIANCUT).convert("RGB"), np.int64)
        median_cut.append(float(np.square(pixels - cut).sum(axis=2).mean()) / np.mean(theirs))
    what = f"Kodak, {len(paths)} photos, K = {n_colors}: MSE / scikit-learn's"
    beside = f"worst {max(ours):.3f}, best {min(ours):.3f}; MEDIANCUT {np.mean(median_cut):.2f}"
    report(what, float(np.mean(ours)), 1.005, 1.0, beside)

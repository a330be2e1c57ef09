"""SSIM, beside a loop over windows in float64 and beside scikit-image's."""

import numpy as np
import pytest
from conftest import Pixels

from gpuquant.report.similarity import ssim


def by_hand(one: Pixels, other: Pixels) -> float:
    """The formula of the article, window by window."""
    x, y = (pixels.astype(np.float64) @ [0.299, 0.587, 0.114] for pixels in (one, other))
    height, width = (min(7, side) for side in x.shape)
    found = []
    for top in range(x.shape[0] - height + 1):
        for left in range(x.shape[1] - width + 1):
            a, b = (values[top : top + height, left : left + width].ravel() for values in (x, y))
            (var_a, cov), (_, var_b) = np.cov(a, b, bias=True)
            first, second = 6.5025, 58.5225
            above = (2 * a.mean() * b.mean() + first) * (2 * cov + second)
            found.append(above / ((a.mean() ** 2 + b.mean() ** 2 + first) * (var_a + var_b + second)))
    return float(np.mean(found))


@pytest.mark.parametrize("size", [(20, 13), (7, 7), (3, 12), (1, 2)])
def test_it_is_the_mean_over_windows(china: Pixels, size: tuple[int, int]) -> None:
    one = china[60 : 60 + size[0], 90 : 90 + size[1]]
    other = one // 32 * 32 + 10
    assert ssim(one, other) == pytest.approx(by_hand(one, other), abs=1e-9)
    assert ssim(one, one) == pytest.approx(1)


def test_it_is_that_of_scikit_image(china: Pixels) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="comes with the extra bench")
    other = china // 64 * 64
    one, two = (pixels @ np.array([0.299, 0.587, 0.114]) for pixels in (china, other))
    theirs = metrics.structural_similarity(one, two, data_range=255, use_sample_covariance=False)
    assert ssim(china, other) == pytest.approx(theirs, abs=1e-9)

import math

import pytest

from gpuquant.colors.error import psnr


def test_identical_pictures_have_infinite_psnr() -> None:
    assert psnr(0.0) == math.inf


@pytest.mark.parametrize(
    ("mse", "decibels"),
    [
        (3 * 255**2, 0.0),  # black against white
        (3 * 2.55**2, 40.0),  # a hundredth of the range in every channel
        (3.0, 20 * math.log10(255)),  # one level in every channel
        (1.0, 20 * math.log10(255) + 10 * math.log10(3)),  # one level in one channel
    ],
)
def test_psnr_of_worked_cases(mse: float, decibels: float) -> None:
    assert psnr(mse) == pytest.approx(decibels, abs=1e-9)


def test_a_larger_error_has_a_lower_psnr() -> None:
    figures = [psnr(mse) for mse in (0, 0.1, 1, 10, 1000)]
    assert figures == sorted(figures, reverse=True)
    assert len(set(figures)) == 5

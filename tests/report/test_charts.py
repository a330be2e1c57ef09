"""Histograms: every number is in one bar, whose height tells how many."""

import numpy as np
import pytest

from gpuquant.report.charts import HEIGHT, WIDTH, Chart, bytes_chart, psnr_chart


def numbers_of(chart: Chart, kind: str) -> list[int]:
    """How many photos each bar stands for, by its height and by its words."""
    bars = [bar for bar in chart.bars if bar.kind == kind]
    by_height = [round(bar.height / HEIGHT * chart.most) for bar in bars]
    assert by_height == [int(bar.title.rpartition(": ")[2].split()[0]) for bar in bars]
    for bar in chart.bars:
        assert 0 <= bar.x < bar.x + bar.width <= WIDTH
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.02)
    return by_height


def test_a_histogram_of_psnr() -> None:
    values = [30.0, 30.2, 30.5, 33.9, 35.0]
    chart = psnr_chart(values, 2)
    assert chart is not None
    assert chart.summary == "PSNR of 5 photos, from 30.0 to 35.0 dB; 2 more without loss"
    assert [bar.title for bar in chart.bars] == [
        "30 to 30.5 dB: 2 photos",
        "30.5 to 31 dB: 1 photo",
        "33.5 to 34 dB: 1 photo",
        "35 to 35.5 dB: 1 photo",
    ]
    assert numbers_of(chart, "after") == [2, 1, 1, 1]


@pytest.mark.parametrize("spread", [0, 1e-9, 0.3, 3, 40, 400, 1e12])
def test_any_spread_of_psnr(spread: float) -> None:
    values = (25 + spread * np.random.default_rng(0).random(50)).tolist()
    chart = psnr_chart(values, 0)
    assert chart is not None
    assert sum(numbers_of(chart, "after")) == 50
    assert 2 <= len(chart.labels) <= 8


def test_a_histogram_of_sizes() -> None:
    chart = bytes_chart([90, 1_500_000, 1_999_999, 2_000_000], [45, 5_000, 0])
    assert chart is not None
    assert chart.summary == "sizes of 4 photos and 3 results, on a scale of 1, 2, 5, 10"
    assert [bar.title for bar in chart.bars if bar.kind == "before"] == [
        "50 bytes to 100 bytes, before: 1 photo",
        "1 MB to 2 MB, before: 2 photos",
        "2 MB to 5 MB, before: 1 photo",
    ]
    assert numbers_of(chart, "before") == [1, 2, 1]
    assert numbers_of(chart, "after") == [2, 1]


def test_sizes_of_which_one_side_is_not_known() -> None:
    results, photos = bytes_chart([], [45, 5_000]), bytes_chart([45, 5_000], [])
    assert results is not None
    assert photos is not None
    assert (results.title, photos.title) == ("Sizes of results", "Sizes of photos")
    assert results.summary == "sizes of 2 results, on a scale of 1, 2, 5, 10"
    assert numbers_of(results, "after") == numbers_of(photos, "before") == [1, 1]


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 1000, 70_000, 99_999_999])
def test_the_axis_of_sizes_stays_near_them(n_bytes: int) -> None:
    chart = bytes_chart([], [n_bytes])
    assert chart is not None
    (bar,) = chart.bars
    labels = [label for _, label in chart.labels]
    assert labels == sorted(labels, key=_bytes)
    assert _bytes(labels[-1]) <= max(10 * n_bytes, 50)
    assert _bytes(labels[0]) <= n_bytes < _bytes(labels[-1])
    low, high = map(_bytes, bar.title.removesuffix(": 1 photo").split(" to "))
    assert low <= n_bytes < high


def _bytes(words: str) -> float:
    number, unit = words.split()
    return float(number) * {"bytes": 1, "byte": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_nothing_is_no_histogram() -> None:
    assert psnr_chart([], 3) is None
    assert bytes_chart([], [0]) is None

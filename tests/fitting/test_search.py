"""Palettes for other wishes: a target in place of a number, rare colors, distances in Oklab."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels
from oracles import drawing, same

from gpuquant import ArgumentError, Palette, TargetError, extract_palette, quantize, quantize_files
from gpuquant.colors.codes import z_order
from gpuquant.fitting import search
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.search import MAX_COLORS, check_search, fewest_colors, find_palette, spread_weights


def test_few_colors_are_kept_in_any_space() -> None:
    pixels = np.array([[[0, 0, 0], [0, 0, 255], [9, 200, 77]]], np.uint8)
    for settings in ({"color_space": "oklab"}, {"weighting": 0.5}, {"target_psnr": 90.0}, {"target_psnr": 1e9}):
        result = quantize(pixels, **settings)
        np.testing.assert_array_equal(result.to_array(), pixels)
        assert result.mse == 0


def test_cells_weigh_as_a_power_of_their_pixels() -> None:
    colors = torch.tensor([[0, 0, 0], [7, 7, 7], [8, 0, 0], [255, 255, 255]], dtype=torch.uint8)
    weights = spread_weights(
        colors, torch.tensor([12, 4, 1, 4]), 0.5
    ).double()  # cells of 16, 1 and 4 pixels: 4, 1 and 2
    np.testing.assert_allclose(weights / weights.sum(), np.array([3, 1, 1, 2]) / 7, rtol=1e-8)
    clear = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 248]], dtype=torch.uint8)
    weights = spread_weights(clear, torch.tensor([9, 1, 3]), 0.5).double()  # cells of 9 and 4 pixels: 3 and 2
    np.testing.assert_allclose(weights / weights.sum(), np.array([3, 0.5, 1.5]) / 5, rtol=1e-8)
    assert spread_weights(colors, torch.tensor([1 << 40, 1, 1, 1]), 1.0).min() == 1  # no color is without weight


@pytest.fixture(scope="module")
def street() -> Pixels:
    """Gray noise with a red spot of one pixel in 400."""
    random = np.random.RandomState(0)
    pixels = np.repeat(random.randint(0, 256, (100, 200, 1)), 3, axis=2).astype(np.uint8)
    pixels[:5, :10] = (200, 30, 40)
    return pixels


def test_a_lower_weighting_keeps_small_accents(street: Pixels) -> None:
    def reddest(result: Any) -> int:
        return int((result.palette.colors[:, 0].astype(int) - result.palette.colors[:, 1]).max())

    plain, spread = quantize(street, 8), quantize(street, 8, weighting=0.5)
    assert reddest(plain) < 60
    assert reddest(spread) > 150
    assert plain.mse < spread.mse
    assert spread.mse == pytest.approx(np.square(street.astype(int) - spread.to_array()).sum(axis=2).mean())
    np.testing.assert_array_equal(spread.counts, np.bincount(spread.labels.reshape(-1)))
    assert same(quantize(street, 8, weighting=1), plain)


@pytest.mark.parametrize(
    "settings",
    [{"color_space": "oklab"}, {"weighting": 0.6}, {"target_psnr": 28.0}, {"color_space": "oklab", "n_colors": 70}],
)
def test_the_same_bits_for_any_threads_and_chunks(china: Pixels, settings: dict[str, Any]) -> None:
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = quantize(china, **settings)
        torch.set_num_threads(3)
        assert same(quantize(china, chunk_size=3000, **settings), alone)
    finally:
        torch.set_num_threads(n_threads)
    assert extract_palette([china[:60], china[60:]], **settings).hex == alone.palette.hex


@pytest.mark.parametrize("target", [15.0, 24.0, 31.5, 36.0])
@pytest.mark.parametrize("settings", [{}, {"effort": "fast", "color_space": "oklab"}])
def test_a_target_takes_no_color_too_many(china: Pixels, target: float, settings: dict[str, Any]) -> None:
    result = quantize(china, target_psnr=target, **settings)
    assert result.psnr >= target
    n_colors = len(result.palette)
    if n_colors > 1:
        assert quantize(china, n_colors - 1, **settings).psnr < target
    assert same(result, quantize(china, n_colors, **settings))


def test_a_target_with_transparency() -> None:
    image = drawing("all")
    result = quantize(image, target_psnr=30)
    assert result.psnr >= 30 > quantize(image, len(result.palette) - 1).psnr


@pytest.mark.parametrize("target", [90.0, 1e9])
def test_a_target_for_what_hardly_shows(target: float) -> None:
    image = np.zeros((2, 8, 4), np.uint8)
    image[..., 3] = 1
    image[0, :, 0], image[1, :, 1] = np.arange(8), 3 * np.arange(8)
    result = quantize(image, target_psnr=target)
    assert result.psnr >= target
    assert len(result.palette) > 1


def test_a_target_out_of_reach(street: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MAX_COLORS", 20)
    reached = quantize(street, 20).psnr
    with pytest.raises(TargetError, match=rf"20 colors reach {reached:.2f} dB, less than target_psnr=60; ask for"):
        quantize(street, target_psnr=60)


def fit_of(error: Callable[[int], float], tried: list[int]) -> Callable[[int], PaletteFit]:
    def fit(n_colors: int) -> PaletteFit:
        tried.append(n_colors)
        empty = torch.empty(n_colors)
        return PaletteFit(empty, empty, empty, error(n_colors), 0.0, 1, True)

    return fit


@pytest.mark.parametrize("power", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("fewest", [1, 2, 3, 50, 1000, 4095, 4096])
def test_the_fewest_colors_are_found_in_few_trials(power: float, fewest: int) -> None:
    tried: list[int] = []
    found = fewest_colors(fit_of(lambda n_colors: 1e6 / n_colors**power, tried), 1e6 / fewest**power * 1.0000001)
    assert len(found.palette) == fewest
    assert len(tried) <= 12
    again: list[int] = []
    fewest_colors(
        fit_of(lambda n_colors: 1e6 / n_colors**power, again),
        found.error * 1.0000001,
        first=min(4096, fewest + fewest // 9),
    )
    assert len(again) <= 8
    roughly = fewest_colors(fit_of(lambda n_colors: 1e6 / n_colors**power, []), found.error, slack=0.05)
    assert 0.95 * found.error <= roughly.error <= found.error or len(roughly.palette) == fewest


def test_errors_that_hardly_fall_or_rise_end_the_search() -> None:
    def flat(n_colors: int) -> float:
        return 1e8 if n_colors < 256 else 1e8 * (1 - 1e-6 * n_colors) if n_colors < 3000 else 1.0

    assert len(fewest_colors(fit_of(flat, []), 1e4).palette) == 3000
    noise = np.random.RandomState(0).uniform(0.8, 1.2, MAX_COLORS + 1)
    tried: list[int] = []
    found = fewest_colors(fit_of(lambda n_colors: float(noise[n_colors]) * 1e6 / n_colors, tried), 2e4)
    assert found.error <= 2e4 < noise[len(found.palette) - 1] * 1e6 / (len(found.palette) - 1)
    assert len(tried) < 30


def test_steps_and_cliffs_end_the_search() -> None:
    for fewest in (2, 700, MAX_COLORS):
        tried: list[int] = []
        found = fewest_colors(fit_of(lambda n, least=fewest: 5.0 if n < least else 0.0, tried), 1.0)  # type: ignore[misc]
        assert len(found.palette) == fewest
        assert len(tried) <= 40
    beyond = fewest_colors(fit_of(lambda _: 5.0, []), 1.0)
    assert len(beyond.palette) == MAX_COLORS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_colors": 8, "target_psnr": 30}, "exclude each other"),
        ({"target_psnr": 0}, "target_psnr=0 must be"),
        ({"target_psnr": float("nan")}, "target_psnr=nan must be"),
        ({"target_psnr": float("inf")}, "target_psnr=inf must be"),
        ({"target_psnr": "30"}, "target_psnr='30' must be"),
        ({"target_psnr": True}, "target_psnr=True must be"),
        ({"target_psnr": 30, "init": np.zeros((8, 3))}, "excludes target_psnr"),
        ({"color_space": "lab"}, "color_space='lab' is unknown"),
        ({"weighting": 1.5}, "weighting=1.5 must be"),
        ({"weighting": -0.1}, "weighting=-0.1 must be"),
        ({"weighting": float("nan")}, "weighting=nan must be"),
    ],
)
def test_arguments_that_cannot_be_used(china: Pixels, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        quantize(china, **settings)


def test_a_given_palette_is_not_searched_for(folder: Any, tmp_path: Any) -> None:
    palette = Palette(np.array([[0, 0, 0]], np.uint8))
    every: tuple[dict[str, Any], ...] = ({"n_colors": 8}, {"target_psnr": 25.0}, {"color_space": "oklab"})
    for settings in (*every, {"weighting": 0.5}, {"effort": "best"}):
        with pytest.raises(ArgumentError, match="a given palette is not searched for"):
            quantize_files(folder, tmp_path / "out", palette=palette, **settings)


def test_files_get_what_each_alone_would(folder: Any, tmp_path: Any) -> None:
    for settings in ({"target_psnr": 25.0}, {"color_space": "oklab"}, {"weighting": 0.5, "effort": "best"}):
        output = tmp_path / "-".join(settings)
        outcomes = list(quantize_files(folder, output, **settings))
        written = [outcome for outcome in outcomes if outcome.status == "written"]
        assert len(written) == 6, [outcome.error for outcome in outcomes]
        for outcome in written:
            alone = quantize(outcome.source, **settings)
            assert (outcome.n_colors, outcome.mse) == (len(alone.palette), alone.mse)


@pytest.mark.parametrize("bits", [20, 36, 40, 47])
def test_more_pixels_than_integers_hold_change_no_palette(china: Pixels, bits: int) -> None:
    """Squared distances of so many pixels do not fit 64 bits; a palette is that of the same colors a few times."""
    colors, counts = np.unique(china[::5, ::5].reshape(-1, 3), axis=0, return_counts=True)
    order = z_order(torch.from_numpy(colors)).argsort()
    given = torch.from_numpy(colors)[order], torch.from_numpy(counts)[order]
    few, many = (find_palette(given[0], given[1] * times, check_search(8)) for times in (1, 2 ** (bits - 12)))
    assert int(many.counts.sum()) == int(given[1].sum()) * 2 ** (bits - 12)
    assert many.error / few.error == pytest.approx(2 ** (bits - 12), rel=1e-3)

"""What a palette is wanted for: a target in place of a number, rare colours, distances in Oklab."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels
from sklearn.cluster import KMeans
from test_quantization import same
from test_transparency import drawing

from gpuquant import ArgumentError, extract_palette, quantize, quantize_files, space_fit
from gpuquant.palette_fit import PaletteFit
from gpuquant.palette_search import MAX_COLORS, fewest_colors, spread_weights

XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
CONES = (
    (0.8189330101, 0.3618667424, -0.1288597137),
    (0.0329845436, 0.9293118715, 0.0361456387),
    (0.0482003018, 0.2643662691, 0.6338517070),
)
AXES = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def oklab(levels: Pixels) -> npt.NDArray[np.float64]:  # [M, 3] -> [M, 3]
    """Oklab by way of XYZ, as its author defines it."""
    rgb = levels.astype(np.float64) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    found: npt.NDArray[np.float64] = np.cbrt(linear @ np.array(XYZ).T @ np.array(CONES).T) @ np.array(AXES).T
    return found


def in_oklab(pixels: Pixels) -> npt.NDArray[np.float64]:  # [N, 3], or [N, 4] weighted by alpha
    """Points whose distance is Delta E OK2."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    points = oklab(flat[:, :3]) * (1, 2, 2)
    if flat.shape[1] == 3:
        return points
    alpha = flat[:, 3:] / 255
    return np.column_stack([points * alpha, alpha])


def apart(points: npt.NDArray[np.float64], entries: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.square(points[:, None] - entries).sum(axis=2)
    return found


@pytest.mark.parametrize("kind", ["opaque", "clear and opaque", "all"])
def test_distances_are_those_of_oklab(china: Pixels, kind: str) -> None:
    pixels = china[::6, ::6] if kind == "opaque" else drawing(kind)
    result = quantize(pixels, 12, color_space="oklab")
    points, entries = in_oklab(pixels), in_oklab(np.asarray(result.palette.rows))
    distances = apart(points, entries)
    labels = np.asarray(result.labels).reshape(-1)
    found = distances[np.arange(len(labels)), labels]
    np.testing.assert_allclose(found, distances.min(axis=1), atol=1e-5)  # the two matrices differ in the fifth digit
    seen = [rows.reshape(-1, rows.shape[-1]).astype(np.float64) for rows in (pixels, result.to_array())]
    if pixels.shape[-1] == 4:
        for rows in seen:
            rows[:, :3] *= rows[:, 3:] / 255
        assert (result.to_array()[pixels[..., 3] == 0] == 0).all()
    assert result.mse == pytest.approx(np.square(seen[0] - seen[1]).sum(axis=1).mean(), rel=1e-9)
    np.testing.assert_array_equal(np.asarray(result.counts), np.bincount(labels, minlength=12))
    assert np.asarray(result.counts).min() > 0
    assert result.inertia == pytest.approx(result.mse * labels.size)


@pytest.mark.parametrize("folded", [False, True])
def test_the_error_in_oklab_is_as_low_as_that_of_scikit_learn(
    china: Pixels, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if folded:
        monkeypatch.setattr(space_fit, "MANY", 1000)
    pixels = china[::4, ::4]
    points = in_oklab(pixels)
    theirs = [KMeans(16, n_init=1, random_state=seed).fit(points).inertia_ for seed in range(3)]
    ours = {}
    for color_space in ("srgb", "oklab"):
        palette = quantize(pixels, 16, color_space=color_space).palette
        ours[color_space] = apart(points, in_oklab(np.asarray(palette.colors))).min(axis=1).sum()
    assert ours["oklab"] < 1.01 * np.mean(theirs)
    assert ours["oklab"] < 0.97 * ours["srgb"]


def test_more_effort_in_oklab(china: Pixels) -> None:
    points = in_oklab(china[::4, ::4])
    errors = []
    for effort in ("fast", "default", "best"):
        palette = quantize(china[::4, ::4], 40, color_space="oklab", effort=effort).palette
        errors.append(apart(points, in_oklab(np.asarray(palette.colors))).min(axis=1).sum())
    assert errors[2] < min(errors[:2])


def test_given_starts_in_oklab(china: Pixels) -> None:
    starts = np.array([[0, 0, 0], [255, 255, 255], [30, 60, 200], [180, 90, 60]])
    found = quantize(china, 4, color_space="oklab", init=starts)
    assert same(found, quantize(china, 4, color_space="oklab", init=torch.from_numpy(starts), random_state=7))


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
    """Grey noise with a red spot of one pixel in 400."""
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


def test_a_target_out_of_reach(street: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquant.palette_search.MAX_COLORS", 20)
    reached = quantize(street, 20).psnr
    with pytest.raises(ArgumentError, match=rf"20 colors reach {reached:.2f} dB, less than target_psnr=60; ask for"):
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


def test_files_get_what_each_alone_would(folder: Any, tmp_path: Any) -> None:
    for settings in ({"target_psnr": 25.0}, {"color_space": "oklab"}, {"weighting": 0.5, "effort": "best"}):
        output = tmp_path / "-".join(settings)
        outcomes = list(quantize_files(folder, output, **settings))
        written = [outcome for outcome in outcomes if outcome.status == "written"]
        assert len(written) == 6
        for outcome in written:
            alone = quantize(outcome.source, **settings)
            assert (outcome.n_colors, outcome.mse) == (len(alone.palette), alone.mse)

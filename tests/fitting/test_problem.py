"""Palettes in Oklab, with and without alpha, beside NumPy and scikit-learn."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import Pixels, needs_numba
from oracles import drawing, same
from sklearn.cluster import KMeans

from gpuquant import quantize
from gpuquant.colors.spaces import OKLAB
from gpuquant.fitting import problem as problem_module
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.ops import compiled
from gpuquant.threads import one_torch_thread

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
        monkeypatch.setattr(problem_module, "MOST_SEARCHED", 8000)
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
        found = [
            quantize(china[::4, ::4], 40, color_space="oklab", effort=effort, random_state=one) for one in range(4)
        ]
        palettes = [in_oklab(np.asarray(one.palette.colors)) for one in found]
        errors.append([apart(points, palette).min(axis=1).sum() for palette in palettes])
    assert sum(errors[2]) < sum(errors[1]) < sum(errors[0])


def test_given_starts_in_oklab(china: Pixels) -> None:
    starts = np.array([[0, 0, 0], [255, 255, 255], [30, 60, 200], [180, 90, 60]])
    found = quantize(china, 4, color_space="oklab", init=starts)
    assert same(found, quantize(china, 4, color_space="oklab", init=torch.from_numpy(starts), random_state=7))


def test_the_same_points_for_any_number_of_threads(china_large: Pixels, set_threads: Callable[[int], None]) -> None:
    colors = torch.from_numpy(np.unique(china_large.reshape(-1, 3), axis=0))
    assert len(colors) > 60_000
    found = []
    for n_threads in (1, 2, 4):
        set_threads(n_threads)
        with one_torch_thread():
            found.append(PaletteProblem(colors, torch.ones(len(colors), dtype=torch.int64), OKLAB).all.points)
    assert all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize("n_columns", [3, 4])
def test_colors_come_back_from_oklab(n_columns: int) -> None:
    colors = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (500, n_columns)).astype(np.uint8))
    if n_columns == 4:
        colors[:, 3] |= 128  # faint ones lose levels
        colors[0] = 0
    assert torch.equal(OKLAB.leave(OKLAB.enter(colors)), colors)


@needs_numba
@pytest.mark.parametrize("color_space", ["srgb", "oklab"])
@pytest.mark.parametrize("alpha", [False, True])
def test_the_same_without_compiled_loops(
    china: Pixels, color_space: str, alpha: bool, set_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = china[::3, ::3]
    if alpha:
        pixels = np.dstack([pixels, np.random.RandomState(0).randint(0, 256, pixels.shape[:2]).astype(np.uint8)])
        pixels[:20, :, 3], pixels[30:, :, 3] = 0, 255
    expected = quantize(pixels, 20, color_space=color_space)
    set_threads(1)
    assert same(quantize(pixels, 20, color_space=color_space), expected)
    monkeypatch.setattr(compiled, "has_numba", lambda: False)
    assert same(quantize(pixels, 20, color_space=color_space), expected)

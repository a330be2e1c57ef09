"""Efforts: more of it gives no higher error."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels
from oracles import same

from gpuquant.clustering import breathing
from gpuquant.colors.spaces import working_space
from gpuquant.fitting import coarse_to_fine
from gpuquant.quantization.recipes import extract_palette, quantize


@pytest.mark.parametrize("n_colors", [16, 64])
def test_more_effort_gives_a_lower_error(china: Pixels, n_colors: int) -> None:
    errors = [quantize(china, n_colors, effort=effort).mse for effort in ("fast", "default", "best")]
    assert errors[2] <= errors[1] < errors[0] < 1.1 * errors[2]
    assert n_colors == 16 or errors[2] < errors[1]


def test_more_effort_for_many_colors(china_large: Pixels) -> None:
    default, best = (quantize(china_large, 1500, effort=effort).mse for effort in ("default", "best"))
    assert best <= default


@pytest.mark.parametrize("n_colors", [2, 16, 64])
@pytest.mark.parametrize("step", [2, 9])
def test_more_effort_never_ends_above_the_default(china: Pixels, step: int, n_colors: int) -> None:
    for color_space in ("srgb", "oklab"):
        for seed in range(3):
            found = [
                quantize(china[::step, ::step], n_colors, effort=effort, random_state=seed, color_space=color_space)
                for effort in ("default", "best")
            ]
            in_space = [
                working_space(color_space).enter(torch.from_numpy(one.to_array().reshape(-1, 3))) for one in found
            ]
            pixels = working_space(color_space).enter(torch.from_numpy(china[::step, ::step].reshape(-1, 3).copy()))
            default, best = (float((points.double() - pixels.double()).square().sum()) for points in in_space)
            assert best <= default * (1 + 1e-12)


def test_effort_holds_for_kmeans_plus_plus_alone(china: Pixels) -> None:
    for color_space in ("srgb", "oklab"):
        for init in ("random", np.linspace(0, 255, 24).reshape(8, 3)):
            found = [quantize(china, 8, init=init, effort=one, color_space=color_space) for one in ("fast", "best")]
            assert same(*found)
            assert found[0].n_iter > 2


def test_runs_of_the_best_effort_have_draws_of_their_own(china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    draws_of: list[np.random.RandomState] = []

    def watched(*arguments: Any, draws: np.random.RandomState, **settings: Any) -> tuple[torch.Tensor, float]:
        draws_of.append(draws)
        return breathing.breathe(*arguments, draws=draws, **settings)

    monkeypatch.setattr(coarse_to_fine, "breathe", watched)
    quantize(china, 8, effort="best", n_init=3)
    # the default's search, and another
    assert [draws_of.index(draws) for draws in draws_of] == [0] * 2 + [2] * 2 + [4] * 2
    assert len({draws.uniform() for draws in draws_of[::2]}) == 3


def test_effort_with_transparency(china: Pixels) -> None:
    alpha = np.random.RandomState(0).randint(1, 255, (*china[::3, ::3].shape[:2], 1)).astype(np.uint8)
    image = np.concatenate([china[::3, ::3], alpha], axis=2)
    fast, default, best = (
        [quantize(image, 40, effort=effort, random_state=seed).mse for seed in range(4)]
        for effort in ("fast", "default", "best")
    )
    assert all(most <= some for most, some in zip(best, default, strict=True))
    assert sum(best) < sum(default) < sum(fast)


def test_effort_for_a_palette_of_many(china: Pixels) -> None:
    parts = [china[:60], china[60:]]
    assert extract_palette(parts, 50, effort="best").hex == quantize(china, 50, effort="best").palette.hex
    assert extract_palette(parts, 50).hex != quantize(china, 50, effort="best").palette.hex

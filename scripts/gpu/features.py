"""Times of what else people ask for: alpha, Oklab, dithering, the best effort, many photos."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu.clock import timed
from gpu.setting import DEVICE, REHEARSAL, ROUNDS, SMALL, Row, each_apart, photo
from PIL import Image
from torch import Tensor

import gpuquant
from gpuquant.fitting.coarse_to_fine import fit_palettes
from gpuquant.fitting.problem import PaletteProblem

N_PHOTOS = 4 if REHEARSAL else 32
FEW = min(5, ROUNDS)
Counted = tuple[Tensor, Tensor]  # distinct colors [M, 3] uint8, and their counts [M] int64
SETTINGS: dict[str, Any] = {"init": "k-means++", "n_init": 1, "max_iter": 300, "tol": 1e-4, "random_state": 0}


def time_features() -> Iterator[Row]:
    cases: dict[str, Callable[[], Row]] = {
        "alpha, K = 16": _alpha,
        "Oklab, K = 16": partial(_quantize, color_space="oklab"),
        "effort best, K = 16": partial(_quantize, effort="best"),
        f"palettes of {N_PHOTOS} photos as one batch, K = 16": _together,
        f"palettes of {N_PHOTOS} photos one after the other, K = 16": _in_turn,
        f"quantize_files, {N_PHOTOS} photos of {SMALL[0]} x {SMALL[1]}, K = 16": _files,
        "Floyd-Steinberg on a small photo, K = 16": partial(_quantize, size=SMALL, dither="floyd-steinberg"),
        "blue noise, K = 16": partial(_quantize, dither="blue-noise"),  # last: without Numba they take minutes
        "Bayer, K = 16": partial(_quantize, dither="bayer"),
    }
    yield from each_apart(cases)


def _quantize(*, size: tuple[int, int] | None = None, **settings: Any) -> Row:
    image = (photo(size) if size else photo()).to(DEVICE)
    return timed(lambda given: gpuquant.quantize(given, 16, **settings), [image], floor=None, rounds=FEW)


def _alpha() -> Row:
    image = photo()
    height, width, _ = image.shape
    alpha = torch.arange(width, dtype=torch.int32).mul(255).div(width, rounding_mode="floor").to(torch.uint8)
    image = torch.cat([image, alpha.expand(height, width)[..., None]], dim=2).to(DEVICE)
    return timed(lambda given: gpuquant.quantize(given, 16), [image], floor=None, rounds=FEW)


def _counted() -> list[Counted]:
    found = []
    for seed in range(N_PHOTOS):
        histogram = gpuquant.ColorHistogram(DEVICE)
        histogram.add(photo(SMALL, seed))
        found.append((histogram.colors, histogram.counts))
    return found


def _together() -> Row:
    def fit(given: list[Counted]) -> None:
        fit_palettes(_problems(given), 16, **SETTINGS)

    return timed(fit, [_counted()], floor=None, rounds=FEW)


def _in_turn() -> Row:
    def fit(given: list[Counted]) -> None:
        for problem in _problems(given):
            fit_palettes([problem], 16, **SETTINGS)

    return timed(fit, [_counted()], floor=None, rounds=FEW)


def _problems(counted: list[Counted]) -> list[PaletteProblem]:
    """Make problems anew: each keeps the cells that a fit has asked for."""
    return [PaletteProblem(colors, counts) for colors, counts in counted]


def _files() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        photos, output = Path(folder, "photos"), Path(folder, "out")
        photos.mkdir()
        for seed in range(N_PHOTOS):
            Image.fromarray(photo(SMALL, seed).numpy()).save(photos / f"{seed}.bmp")

        def batch(_: None) -> None:
            outcomes = list(gpuquant.quantize_files(photos, output, 16, device=DEVICE, existing="overwrite"))
            assert [one.status for one in outcomes] == ["written"] * N_PHOTOS, outcomes

        return timed(batch, [None], floor=None, rounds=min(3, FEW))

"""What palette is wanted, and the search for it: so many colours, or the fewest that keep the error small enough."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.alpha_fit import fit_alpha_palette
from gpuquant.arguments import check_effort, check_settings, is_integer
from gpuquant.errors import ArgumentError
from gpuquant.metrics import psnr, squared_error
from gpuquant.palette_fit import PaletteFit, fit_palette
from gpuquant.space_fit import OKLAB, fit_in_space

MAX_COLORS = 4096
COLORS = 8  # if neither a number nor a target is given
PACE: dict[str, Any] = {"init": "k-means++", "n_init": 1, "max_iter": 300, "tol": 1e-4}  # if no other is asked for
TOTAL_WEIGHT = 2.0**32  # of all pixels: weights are integers, so that k-means stays exact
EXPONENT = 1.5  # the number of colours is about proportional to 1 / error to this power, in three columns
FIRST_EXPONENT = 0.85  # from one colour to some (measured)
FIRST_COLORS = 256  # at most, after one
ROUGHLY = 0.05
LEAST_ERROR = 0.5  # less than that of one level in one pixel
CELL_LEVELS = 8  # the side of the cells whose pixels are weighted together


@dataclass(frozen=True)
class PaletteSearch:
    """What is wanted of a palette."""

    n_colors: int | None = COLORS
    target_psnr: float | None = None
    color_space: str = "srgb"
    weighting: float = 1.0
    effort: str = "default"
    random_state: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether it is the palette of so many colours that has the lowest error."""
        return self.n_colors is not None and self.color_space == "srgb" and self.weighting == 1


def check_search(
    n_colors: int | None,
    target_psnr: float | None = None,
    color_space: str = "srgb",
    weighting: float = 1.0,
    effort: str = "default",
    random_state: int = 0,
) -> PaletteSearch:
    """Raise unless the arguments can be used."""
    if n_colors is not None and target_psnr is not None:
        raise ArgumentError("n_colors and target_psnr exclude each other; give one of them")
    if target_psnr is not None and not (_is_real(target_psnr) and 0 < target_psnr < math.inf):
        raise ArgumentError(f"target_psnr={target_psnr!r} must be a finite number of decibels above 0")
    if n_colors is None and target_psnr is None:
        n_colors = COLORS
    if n_colors is not None and not (is_integer(n_colors) and 1 <= n_colors <= MAX_COLORS):
        raise ArgumentError(f"n_colors={n_colors!r} must be an integer from 1 to {MAX_COLORS}")
    if color_space not in ("srgb", "oklab"):
        raise ArgumentError(f'color_space={color_space!r} is unknown; use "srgb" or "oklab"')
    if not (_is_real(weighting) and 0 <= weighting <= 1):
        raise ArgumentError(f"weighting={weighting!r} must be a number from 0 to 1")
    check_effort(effort)
    check_settings(1, 1, 0, random_state, None)
    return PaletteSearch(
        None if n_colors is None else int(n_colors),
        None if target_psnr is None else float(target_psnr),
        color_space,
        float(weighting),
        effort,
        int(random_state),
    )


def find_palette(
    colors: Tensor,  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct
    counts: Tensor,  # [M] int64
    search: PaletteSearch,
    *,
    chunk_size: int | None = None,
    **pace: Any,  # init, n_init, max_iter, tol
) -> PaletteFit:
    """The palette that is wanted, with its error on the pixels as they are."""
    weights = counts if search.weighting == 1 else spread_weights(colors, counts, search.weighting)
    if colors.shape[1] == 4 and isinstance(pace.get("init"), Tensor):
        raise ArgumentError('init must be "k-means++" or "random" for an image with transparency, or give a background')
    space = OKLAB if search.color_space == "oklab" else None
    settings = PACE | pace | {"random_state": search.random_state, "chunk_size": chunk_size}

    def fit(n_colors: int, effort: str = search.effort) -> PaletteFit:
        settings["effort"] = effort
        if colors.shape[1] == 4:
            found = fit_alpha_palette(colors, weights, n_colors, space, **settings)
        elif space:
            found = fit_in_space(colors, weights, n_colors, space, **settings)
        else:
            found = fit_palette(colors, weights, n_colors, **settings)
        return _of_pixels(found, colors, counts) if space or weights is not counts else found

    if search.n_colors is not None:
        return fit(search.n_colors)
    assert search.target_psnr is not None
    n_pixels, n_channels = int(counts.sum()), colors.shape[1]
    most = max(LEAST_ERROR, n_channels * 255**2 * 10 ** (-search.target_psnr / 10) * n_pixels)
    about = 1
    if search.effort != "fast":
        about = len(fewest_colors(partial(fit, effort="fast"), most, slack=ROUGHLY).palette)
    found = fewest_colors(fit, most, about)
    if found.error > most:
        reached = f"{MAX_COLORS} colors reach {psnr(found.error / n_pixels, n_channels):.2f} dB"
        raise ArgumentError(f"{reached}, less than target_psnr={search.target_psnr:g}; ask for less")
    return found


def fewest_colors(
    fit: Callable[[int], PaletteFit],
    most: float,  # the largest error allowed
    first: int = 1,  # the number of colours to begin with
    slack: float = 0.0,  # the share of it by which the error may be lower than needed
) -> PaletteFit:
    """A fit whose error is small enough while that with one colour less is not, or that of MAX_COLORS.

    The error falls about as a power of the number of colours, which is where the next number to try is read off.
    """
    low, high = (0, math.inf), (MAX_COLORS + 1, 0.0)  # what is too few, and what is enough
    n_colors, best, last = first, None, (0, 0.0)
    exponent = EXPONENT if first > 1 else FIRST_EXPONENT
    widths: list[int] = []
    while True:
        found, before = fit(n_colors), last
        last = (n_colors, found.error)
        if found.error <= most:
            best, high = found, last
        else:
            low = last
        widths.append(high[0] - low[0])
        if widths[-1] == 1 or (best and slack and best.error >= (1 - slack) * most):
            return best or found
        fewer, more = (low, high) if best and low[0] else sorted([before, last])
        if fewer[0] and 0 < more[1] < fewer[1]:
            exponent = math.log(more[0] / fewer[0]) / math.log(fewer[1] / more[1])
        guess = math.ceil(n_colors * (found.error / most) ** exponent)
        if not best:
            guess = min(guess + guess // 32, max(FIRST_COLORS, 4 * low[0]))  # rather too many: both ends are wanted
        elif low[0] and len(widths) > 2 and 4 * widths[-1] > widths[-3]:
            guess = (low[0] + high[0]) // 2  # where the error does not fall as expected, halves are faster
        n_colors = min(max(guess, low[0] + 1), high[0] - 1)


def spread_weights(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    counts: Tensor,  # [M] int64
    power: float,  # 0..1
) -> Tensor:  # [M] int64
    """Weights of colours by which a cell of the cube with n pixels weighs as n^power, shared out by their counts.

    Cells, not single colours, have a share that noise does not change: it spreads the same pixels over more colours.
    """
    keys = torch.zeros(len(colors), dtype=torch.int64, device=colors.device)
    for digits in (colors // CELL_LEVELS).unbind(dim=1):
        keys = keys * (256 // CELL_LEVELS) + digits
    n_pixels = counts.new_zeros((256 // CELL_LEVELS) ** colors.shape[1]).index_add_(0, keys, counts)
    in_cells = n_pixels.cpu().numpy().clip(min=1).astype(np.float64)  # on the host, the same bits for any device
    total = (in_cells**power)[n_pixels.cpu().numpy() > 0].sum()
    factors = torch.from_numpy(in_cells ** (power - 1) * (TOTAL_WEIGHT / total)).to(colors.device)
    return (counts * factors[keys]).round().clamp(min=1).to(torch.int64)


def _of_pixels(fit: PaletteFit, colors: Tensor, counts: Tensor) -> PaletteFit:
    """A fit with the counts and the error of its labels on pixels as they are, in sRGB."""
    n_pixels = torch.zeros_like(fit.counts).index_add_(0, fit.labels.long(), counts)
    error = squared_error(colors, fit.palette, fit.labels, counts)
    return replace(fit, counts=n_pixels, error=error, inertia=error)


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

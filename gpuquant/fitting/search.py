"""A wanted palette, and the search for it: so many colors, or the fewest that keep the error small enough."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_effort, check_name, check_settings, is_integer, is_real
from gpuquant.clustering.initialization import names_or
from gpuquant.colors.error import psnr, squared_error
from gpuquant.colors.registry import SPACES
from gpuquant.colors.spaces import working_space
from gpuquant.errors import ArgumentError, TargetError
from gpuquant.fitting.coarse_to_fine import fit_palettes
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.fitting.with_alpha import fit_alpha_palette
from gpuquant.threads import one_torch_thread

MAX_COLORS = 4096  # whose indices fit the exact scores of `ops.MAX_CLUSTERS`
COLORS = 8  # if neither a number nor a target is given
KMEANS_DEFAULTS: dict[str, Any] = {
    "init": "k-means++",
    "n_init": 1,
    "max_iter": 300,
    "tol": 1e-4,
}  # if no other is asked for
TOTAL_WEIGHT = 2.0**30  # of all pixels: weights are integers, so that k-means stays exact
EXPONENT = 1.5  # to which the number of colors is guessed to be proportional to 1 / error, as in a flat density
FIRST_EXPONENT = 0.85  # from one color to some hundred (measured on three photos)
FIRST_COLORS = 256  # at most, after one color: larger fits take long
ROUGHLY = 0.05  # by which the error of the fast effort may be lower than needed: another effort goes on from there
LEAST_ERROR = 1e-6  # less than that of one level in one pixel of the faintest alpha
CELL_LEVELS = 8  # the side of the cells whose pixels are weighted together


@dataclass(frozen=True)
class PaletteSearch:
    """The palette that is wanted."""

    n_colors: int | None
    target_psnr: float | None  # dB, in place of the number
    color_space: str
    weighting: float  # 0..1
    effort: str
    random_state: int

    @property
    def is_plain(self) -> bool:
        """True where the palette of so many colors with the lowest error is wanted."""
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
    if target_psnr is not None and not (is_real(target_psnr) and 0 < target_psnr < math.inf):
        raise ArgumentError(f"target_psnr={target_psnr!r} must be a finite number of decibels above 0")
    if n_colors is None and target_psnr is None:
        n_colors = COLORS
    if n_colors is not None and not (is_integer(n_colors) and 1 <= n_colors <= MAX_COLORS):
        raise ArgumentError(f"n_colors={n_colors!r} must be an integer from 1 to {MAX_COLORS}")
    check_name("color_space", color_space, SPACES)
    if not (is_real(weighting) and 0 <= weighting <= 1):
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


def check_not_searched(n_colors: int | None, search: PaletteSearch) -> None:
    """Raise where a palette is given, and also something that says how to find one."""
    if n_colors is not None or not search.is_plain or search.effort != "default":
        others = "n_colors, target_psnr, color_space, effort= and weighting="
        raise ArgumentError(f"a given palette is not searched for; it excludes {others}")


@one_torch_thread()
def find_palette(
    colors: Tensor,  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct
    counts: Tensor,  # [M] int64
    search: PaletteSearch,
    *,
    n_pixels: int | None = None,  # the sum of the counts, where it is known: to ask a device takes time
    chunk_size: int | None = None,
    **pace: Any,  # init, n_init, max_iter, tol
) -> PaletteFit:
    """The palette that is wanted, with its error on the pixels as they are.

    Raises
    ------
    TargetError
        MAX_COLORS do not reach the target.
    """
    is_plain = search.color_space == "srgb" and colors.shape[1] == 3
    most_exact = ops.MAX_EXACT if is_plain else ops.MAX_EXACT_STEPS
    is_exact = search.weighting == 1 and (n_pixels or float(counts.double().sum())) <= most_exact
    weights = counts if is_exact else spread_weights(colors, counts, search.weighting)
    if colors.shape[1] == 4 and isinstance(pace.get("init"), Tensor):
        raise ArgumentError(f"init must be {names_or()} for an image with transparency, or give a background")
    space = working_space(search.color_space)
    settings = KMEANS_DEFAULTS | pace | {"random_state": search.random_state}
    problem = PaletteProblem(colors, weights, space, chunk_size)
    measures_pixels = is_plain and weights is counts

    def fit(n_colors: int, effort: str = search.effort) -> PaletteFit:
        if colors.shape[1] == 4:
            found = fit_alpha_palette(problem, n_colors, effort=effort, **settings)
        else:
            (found,) = fit_palettes([problem], n_colors, effort=effort, **settings)
        return found if measures_pixels else _of_pixels(found, colors, counts)

    if search.n_colors is not None:
        return fit(search.n_colors)
    assert search.target_psnr is not None
    n_pixels, n_channels = n_pixels or int(counts.sum()), colors.shape[1]
    most = max(LEAST_ERROR, n_channels * 255**2 * 10 ** (-search.target_psnr / 10) * n_pixels)
    first = 1
    if search.effort != "fast":
        first = len(fewest_colors(partial(fit, effort="fast"), most, slack=ROUGHLY).palette)
    found = fewest_colors(fit, most, first)
    if found.error > most:
        reached = f"{MAX_COLORS} colors reach {psnr(found.error / n_pixels, n_channels):.2f} dB"
        raise TargetError(f"{reached}, less than target_psnr={search.target_psnr:g}; ask for less")
    return found


def fewest_colors(
    fit: Callable[[int], PaletteFit],
    most: float,  # the largest error allowed, above 0
    first: int = 1,  # the number of colors to begin with
    slack: float = 0.0,  # a palette will do whose error is lower by at most this share of it
) -> PaletteFit:
    """A fit whose error is small enough while that with one color less is not, or that of MAX_COLORS.

    False position on logarithms, as the error falls about as a power of the number of colors, and bisection where the
    interval does not become small as fast as by that.
    """
    low, high = (0, math.inf), (MAX_COLORS + 1, 0.0)  # what is too few, what is enough: numbers and their errors
    tried: list[tuple[int, float]] = []
    widths: list[int] = []
    n_colors, best = first, None
    while True:
        found = fit(n_colors)
        tried.append((n_colors, found.error))
        if found.error <= most:
            best, high = found, tried[-1]
        else:
            low = tried[-1]
        widths.append(high[0] - low[0])
        if widths[-1] == 1 or (best and slack and best.error >= (1 - slack) * most):
            return best or found
        ends = [low, high] if best and low[0] else sorted(tried[-2:])
        guess = n_colors * math.exp(
            min(_exponent(ends) * math.log(max(found.error, LEAST_ERROR) / most), math.log(MAX_COLORS))
        )
        if not best:  # rather too many: both ends are wanted
            guess = min(guess * 1.03, max(FIRST_COLORS, 4 * low[0]))
        elif low[0] and len(widths) > 2 and 4 * widths[-1] > widths[-3]:
            guess = (low[0] + high[0]) / 2
        n_colors = min(max(math.ceil(guess), low[0] + 1), high[0] - 1)


def _exponent(ends: list[tuple[int, float]]) -> float:
    """The power of 1 / error to which the number of colors grows, by two numbers and their errors, or by one."""
    (fewer, larger), (more, smaller) = ends[0], ends[-1]
    if 0 < smaller < larger < math.inf:
        return math.log(more / fewer) / math.log(larger / smaller)
    return FIRST_EXPONENT if more == 1 else EXPONENT


def spread_weights(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    counts: Tensor,  # [M] int64
    power: float,  # 0..1
) -> Tensor:  # [M] int64
    """Weights of colors by which a cell of the cube with n pixels weighs as n^power, shared out by their counts.

    Cells, not single colors, have a share that noise does not change: it spreads the same pixels over more colors.
    """
    keys = torch.zeros(len(colors), dtype=torch.int64, device=colors.device)
    for digits in (colors // CELL_LEVELS).unbind(dim=1):
        keys = keys * (256 // CELL_LEVELS) + digits
    n_cells = (256 // CELL_LEVELS) ** colors.shape[1]
    n_pixels = counts.new_zeros(n_cells).index_add_(0, keys, counts)
    in_cells = n_pixels.double().cpu().numpy()  # powers are taken on the host: the same for any device
    total = (in_cells[in_cells > 0] ** power).sum()
    factors = torch.from_numpy(in_cells.clip(min=1) ** (power - 1) * (TOTAL_WEIGHT / total)).to(colors.device)
    return (counts * factors[keys]).round().clamp(min=1).to(torch.int64)


def _of_pixels(
    fit: PaletteFit,
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    counts: Tensor,  # [M] int64
) -> PaletteFit:
    """A fit with the counts and the error of its labels on pixels as they are, in sRGB."""
    n_pixels = counts.new_zeros(len(fit.palette)).index_add_(0, fit.labels.long(), counts)
    error = squared_error(colors, fit.palette.to(colors.device), fit.labels, counts)
    return replace(fit, counts=n_pixels.cpu(), error=error, inertia=error)

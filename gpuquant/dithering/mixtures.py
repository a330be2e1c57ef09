"""For every color the palette entries that mix to it, and the share of each."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.dithering.regions import Regions, find_regions
from gpuquant.threads import share_out, worker_threads

AT_ONCE = 1 << 13  # colors: some milliseconds, often enough for threads to share out
LIGHTNESS = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601
WORTH = 2  # how many times less grain is worth it that the mean moves
WHOLE = 1 << 19  # what all shares of a mixture add up to: a limit is that of the first entries, and LEAST
LEAST = 1 << 18  # fields have room for as much below and above: weights are off a little where they are rounded
ENTRY_BITS = 16  # as `ops.choose_entries` takes them: palettes have 65,536 entries at most
MASK_WIDTH = 512  # pixels that are worked on together: loops over 16 would often begin and end
TURNS = 6  # of a line before it is taken for the one to which entries lie closest: more change no figure measured

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class GrainCosts(NamedTuple):
    """Costs of grain beside the squared distance of a mean from its color: see `mix_colors`."""

    costs: tuple[float, ...]  # above 0: one, or a low and a high one
    most_moved: float = math.inf  # levels between means by the two


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Ways to mix colors, and which one each color has."""

    numbers: Tensor  # [M] int32
    forms: Tensor  # [Q, 5] int64: as `ops.choose_entries` takes them


def mix_colors(
    colors: Tensor,  # [M, 3] uint8; neighbors are best close together
    palette: Tensor,  # [K, 3] uint8
    allowed: Tensor,  # [E] int64: the entries that are mixed, one at least where there are colors
    strength: float,  # above 0 to 1
    grain_costs: GrainCosts,
) -> Mixtures:
    """Mix each color from the palette entries around it.

    A mixture has weights w >= 0 that add up to 1, and should have the mean sum w p = c. Of all mixtures that have it
    one has the least grain sum w |p - c|^2: its entries are the corners of the simplex of the palette's Delaunay
    triangulation in which the color lies, four at most (V. T. Rajan 1994, "Optimality of the Delaunay triangulation in
    R^d"). Means may be a little off where that makes the grain much less: a mixture is that of the lowest
    |mean - c|^2 + grain_cost sum w |p - c|^2, also for colors that no mixture reaches: see `find_regions`. Of two, by a
    low cost and by a high one, it is the second where its grain is less than 1 / WORTH of the first one's, and its mean
    not far from that: entries that lie almost on a line or in a plane take far ones for little. With grays that are off
    by a level the squared error is then 0.3 to 0.6 times as high (two photos).

    k-means palettes are thin, and to reach the last level of a color takes entries far away. On six Kodak photos at
    K = 8, 16, 64 and 256, 1 - SSIM after a blur of 1.5 pixels is 0.67, 0.67, 0.78 and 0.90 times that without dithering
    at a cost of 0.12; with exact means 1.4, 2.3, 8.5 and 11 times (eight photos).

    With less strength differences between weights are divided by it, and the weights moved back to the nearest ones
    that are none below 0 and add up to 1: half the strength mixes half of the way between two entries, around its
    middle.

    The entries of a mixture are in order from light to dark, and spread as evenly as the mask. Entries that are chosen
    at neighboring levels look as alike as they can: with the 7 inks of a display the error after a blur of 4 pixels is
    0.82 to 0.88 times that of an order by lightness alone (three photos).

    The work is done on the CPU, on whichever device the colors are.
    """
    if not len(colors):
        nothing = torch.zeros(1, 5, dtype=torch.int64, device=colors.device)
        return Mixtures(nothing[0, :0].int(), nothing)
    given, entries = colors.cpu().contiguous().numpy(), allowed.cpu().numpy()
    regions = find_regions(palette.cpu().numpy()[entries], grain_costs.costs)
    numbers = np.empty(len(given), np.int32)
    seen = np.zeros(len(regions.weights) << 4, bool)  # by region, and a bit for each entry that is kept

    def mix(start: int) -> None:
        part = given[start : start + AT_ONCE]
        here = regions.of(part, 0)
        if len(grain_costs.costs) > 1:
            other = regions.of(part, 1)
            moved = np.square(regions.means(part, here) - regions.means(part, other)).sum(axis=1)
            is_worth_it = regions.grains(part, here) > WORTH * regions.grains(part, other)
            here = np.where(is_worth_it & (moved <= grain_costs.most_moved**2), other, here)
        found = here << 4 | (15 if strength == 1 else _kept(regions, here, part, strength))
        seen[found] = True
        numbers[start : start + AT_ONCE] = found

    share_out(range(0, len(given), AT_ONCE), mix, worker_threads())
    used = np.flatnonzero(seen)
    becomes = np.empty(len(seen), np.int32)
    becomes[used] = np.arange(len(used))
    placed = ops.take(torch.from_numpy(becomes), torch.from_numpy(numbers))
    forms = _written(regions, entries, used >> 4, used & 15, strength)
    return Mixtures(placed.to(colors.device), torch.from_numpy(forms).to(colors.device))


def _kept(
    regions: Regions,
    here: npt.NDArray[np.int32],  # [C]
    colors: npt.NDArray[np.uint8],  # [C, 3]
    strength: float,
) -> Integers:  # [C]: a bit for each entry
    """The entries whose weights are above 0 when they are divided by the strength and moved to the standard simplex.

    Source: J. Duchi et al. 2008, "Efficient projections onto the l1-ball for learning in high dimensions", figure 1.
    """
    wide = regions.shares(colors, here) / strength
    wide[np.arange(4) >= regions.sizes[here % len(regions.sizes), None]] = -np.inf
    falling = -np.sort(-wide, axis=1)
    sums = np.where(falling > -np.inf, falling, 0).cumsum(axis=1)
    n_kept = (falling > (sums - 1) / np.arange(1, 5)).sum(axis=1, keepdims=True)
    least = np.take_along_axis(falling, n_kept - 1, axis=1)
    found: Integers = ((wide >= least) << np.arange(4)).sum(axis=1)
    return found


def _written(
    regions: Regions,
    entries: Integers,  # [E]: the palette entries of those that regions have
    here: Integers,  # [Q]
    kept: Integers,  # [Q]: a bit for each entry
    strength: float,
) -> Integers:  # [Q, 5]
    """Write mixtures down as `ops.choose_entries` takes them."""
    n_used = regions.sizes[here % len(regions.sizes), None]
    inside = (kept[:, None] >> np.arange(4) & 1).astype(bool) & (np.arange(4) < n_used)
    levels = regions.levels[here % len(regions.sizes)]
    wide = np.where(inside[:, :, None], regions.weights[here] / strength, 0)
    excess = wide.sum(axis=1, keepdims=True) - [0.0, 0.0, 0.0, 1.0]
    weights = np.where(inside[:, :, None], wide - excess / inside.sum(axis=1)[:, None, None], 0)
    order = _in_order(levels, n_used)
    limits = np.take_along_axis(weights, order[:, :, None], axis=1).cumsum(axis=1)[:, :3] * WHOLE  # [Q, 3, 4]
    middles = (levels * inside[:, :, None]).sum(axis=1) // inside.sum(axis=1, keepdims=True)  # where nothing rounds
    steps = np.rint(limits[:, :, :3])
    at_middle = np.rint(((limits[:, :, :3] - steps) * middles[:, None]).sum(axis=2) + limits[:, :, 3])
    fields = np.concatenate([steps, at_middle[:, :, None] + LEAST], axis=2).astype(np.int64)
    in_order = np.take_along_axis(entries[regions.entries[here % len(regions.sizes)]], order, axis=1)
    return np.concatenate([_packed(fields, ops.FIELD_BITS), _packed(in_order[:, :, None], ENTRY_BITS)], axis=1)


def _packed(fields: Integers, n_bits: int) -> Integers:  # [Q, F, n] -> [Q, n]
    found: Integers = (fields << n_bits * np.arange(fields.shape[1])[:, None]).sum(axis=1)
    return found


def mixtures_of_one(entries: Tensor) -> Tensor:  # [Q] int64 -> [Q, 5]
    """The mixtures that are a single entry, for any color."""
    forms = np.zeros((len(entries), 5), np.int64)
    forms[:, 4:] = _packed(entries.cpu().numpy()[:, None, None].repeat(4, axis=1), ENTRY_BITS)
    return torch.from_numpy(forms).to(entries.device)


def as_thresholds(
    mask: npt.NDArray[np.int16],  # [S, S]: each rank once, of a power of two
) -> Tensor:  # [S, n S] int64: as `ops.choose_entries` takes them
    """The levels of a mask in the middle of their steps, so that limits are rounded to the nearest level."""
    levels = (2 * mask.astype(np.int64) + 1) * (WHOLE // 2 // mask.size) + LEAST + (1 << ops.FIELD_BITS - 1)
    levels = np.tile(levels, max(1, MASK_WIDTH // len(mask)))
    return torch.from_numpy(_packed(np.stack([levels] * 3, axis=1), ops.FIELD_BITS))


def _in_order(
    levels: Floats,  # [Q, 4, 3]
    n_used: Integers,  # [Q, 1]
) -> Integers:  # [Q, 4]
    """Order the entries that are used along the line to which they lie closest, from its light end to its dark one."""
    used = np.arange(4) < n_used
    apart = (levels - (levels * used[:, :, None]).sum(axis=1, keepdims=True) / n_used[:, :, None]) * used[:, :, None]
    ways = np.broadcast_to(LIGHTNESS, (len(levels), 3))
    for _ in range(TURNS):  # the power method: the way turns to the longest axis of the entries' scatter
        onward = ((apart @ ways[:, :, None]) * apart).sum(axis=1)
        length = np.abs(onward).max(axis=1, keepdims=True)
        ways = np.where((n_used > 2) & (length > 0), onward / np.where(length > 0, length, 1), ways)
    along = np.where(used, (apart @ ways[:, :, None])[:, :, 0], -np.inf)
    return np.argsort(-along, axis=1, kind="stable")

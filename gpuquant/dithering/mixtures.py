"""For every color the palette entries that mix to it, and the share of each."""

import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.dithering.hull_projection import HullProjection
from gpuquant.dithering.triangulation import Triangulation, triangulate
from gpuquant.threads import share_out, worker_threads

AT_ONCE = 1 << 12  # colors, which stay in the cache: a quarter of a second where many hulls have to be tried
CELL_BITS = 4  # of a level: cells whose middles say where to begin to look
GRAIN_COST = 0.12  # of a mixture's grain, beside the squared error of its mean: see `mix_colors`
LIGHTNESS = np.array([0.299, 0.587, 0.114])  # of red, green and blue, ITU-R BT.601

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Slack:
    """The distance that means may be off for the sake of less grain."""

    most_off: float  # levels
    worth: float  # how many times less grain is worth any distance; 0: all means may be off as far as that pays


@dataclass(frozen=True, eq=False)
class Mixtures:
    """A record of each color: three limits, from the lowest bits on, and above them the number of its entries."""

    records: Tensor  # [M] int64, of n_levels.bit_length() bits a limit
    entries: Tensor  # [Q, 4] int64


def mix_colors(
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
    strength: float,  # above 0 to 1
    n_levels: int,  # of the mask: limits are from 0 to that
    slack: Slack,
) -> Mixtures:
    """Mix each color from the palette entries around it.

    A mixture has weights w >= 0 that add up to 1 and sum w p = c; a color outside the palette's convex hull is first
    moved to the nearest point of it. Of all mixtures it is the one of the least grain sum w |p - c|^2: its entries are
    the corners of the simplex of the palette's Delaunay triangulation in which the color lies, four at most, and their
    weights its barycentric coordinates there (V. T. Rajan 1994, "Optimality of the Delaunay triangulation in R^d").

    Within the slack means may be off where that makes the grain much less: such a mixture has the lowest
    |mean - c|^2 + GRAIN_COST sum w |p - c|^2. k-means palettes are thin, and to reach the last level of a color takes
    entries far away. On six Kodak photos at K = 8, 16, 64 and 256, 1 - SSIM after a blur of 1.5 pixels is 0.67, 0.67,
    0.78 and 0.90 times that without dithering if means may be off; with exact means 1.4, 2.3, 8.5 and 11 times (eight
    photos).

    With less strength differences between weights are divided by it, and the weights moved back to the nearest ones
    that are none below 0 and add up to 1: half the strength mixes half of the way between two entries, around its
    middle.

    The entries of a mixture are in order from light to dark. The limits are the shares of the first, the first two and
    the first three entries, in levels of the mask: a pixel takes the first entry whose limit is above the mask, or the
    last one, so that entries spread as evenly as the mask. Entries that are chosen at neighboring levels look as alike
    as they can: with the 7 inks of a display the error after a blur of 4 pixels is 0.82 to 0.88 times that of an order
    by lightness alone (three photos).

    The work is done on the CPU, on whichever device the colors are.
    """
    if not len(colors):
        nothing = torch.zeros(1, 4, dtype=torch.int64, device=colors.device)
        return Mixtures(nothing[0, :0], nothing)
    given, entries = (part.cpu().contiguous().numpy() for part in (colors, palette))
    found = triangulate(entries)
    mixing, n_bits = _Mixing(found, slack), n_levels.bit_length()
    records = np.empty(len(given), np.int64)
    known: dict[tuple[int, ...], int] = {}
    lock = threading.Lock()

    def mix(start: int) -> None:
        part = slice(start, start + AT_ONCE)
        corners, weights = mixing.of(given[part])
        if strength < 1:
            weights = _sharpened(weights, strength)
        numbers, lists = np.empty(weights.shape[1], np.int64), np.empty((weights.shape[1], 4), np.int64)
        given_too = n_levels, n_bits, records[part], numbers, lists
        n_lists = ops.mixing().write_down(found.entries, corners, weights, *given_too)
        with lock:
            becomes = [known.setdefault(tuple(one), len(known)) for one in lists[:n_lists].tolist()]
        records[part] |= np.array(becomes)[numbers] << 3 * n_bits

    share_out(range(0, len(given), AT_ONCE), mix, worker_threads())
    lists = torch.tensor(list(known), device=colors.device)
    assert len(lists) <= 1 << (63 - 3 * n_bits)
    return Mixtures(torch.from_numpy(records).to(colors.device), lists)


class _Mixing:
    """A triangulation in which colors are looked for."""

    def __init__(self, found: Triangulation, slack: Slack) -> None:
        self._found, self._slack = found, slack
        if slack.worth == 0:
            return
        self._hull = HullProjection(found)
        side = 256 >> CELL_BITS
        middles = np.arange(1 << CELL_BITS) * side + (side - 1) / 2
        blue, green, red = np.meshgrid(middles, middles, middles, indexing="ij")
        points = self._in_span(np.stack([red.ravel(), green.ravel(), blue.ravel()]))
        self._starts, _ = self._walk(points, np.zeros(points.shape[1], np.int64))

    def of(
        self,
        colors: npt.NDArray[np.uint8],  # [C, 3]
    ) -> tuple[Integers, Floats]:  # [4, C]: points, from light to dark; [4, C]: their weights
        found, slack = self._found, self._slack
        if slack.worth == 0:
            points = np.ascontiguousarray(colors.T, np.float64)
            corners, weights = self._smooth(points, math.inf)
        else:
            points, corners, weights = self._exactly(colors)
            corners, weights = self._smooth(points, slack.most_off, corners, weights)
            if slack.worth < math.inf:
                others = self._smooth(points, math.inf)
                grains = [self._grain(points, *one) for one in ((corners, weights), others)]
                better = grains[0] > slack.worth * grains[1]
                corners, weights = np.where(better, others[0], corners), np.where(better, others[1], weights)
        ops.mixing().put_in_order(found.points, LIGHTNESS, corners, weights)
        return corners, weights

    def _smooth(
        self, points: Floats, most_off: float, corners: Integers | None = None, weights: Floats | None = None
    ) -> tuple[Integers, Floats]:
        if corners is None or weights is None:  # any mixture will do to begin with
            corners, weights = np.zeros((4, points.shape[1]), np.int64), np.eye(4, 1).repeat(points.shape[1], axis=1)
        found = self._found
        links = found.first_link, found.links
        with np.errstate(all="ignore"):  # a cost that falls to 0, of which plain Python would warn
            ops.mixing().smooth(points, found.points, *links, GRAIN_COST, most_off, corners, weights)
        return corners, weights

    def _grain(self, points: Floats, corners: Integers, weights: Floats) -> Floats:  # [C]
        apart = self._found.points.T[:, corners] - points[:, None]
        found: Floats = (weights * np.square(apart).sum(axis=0)).sum(axis=0)
        return found

    def _exactly(
        self,
        colors: npt.NDArray[np.uint8],  # [C, 3]
    ) -> tuple[Floats, Integers, Floats]:  # [3, C]: colors, moved to the hull; [4, C]: points; [4, C]: their weights
        found = self._found
        red, green, blue = colors.T.astype(np.int64) >> (8 - CELL_BITS)
        points = self._in_span(np.ascontiguousarray(colors.T, np.float64))
        at, weights = self._walk(points, self._starts[red | green << CELL_BITS | blue << 2 * CELL_BITS])
        corners = found.corners[:, at]
        outside = np.flatnonzero(weights.min(axis=0) < -ops.mixing().TOLERANCE)
        if len(outside):
            corners[:, outside], weights[:, outside] = self._hull.nearest(points[:, outside])
            points[:, outside] = (weights[:, outside] * found.points.T[:, corners[:, outside]]).sum(axis=1)
        return points, corners, weights.clip(0)

    def _walk(self, points: Floats, starts: Integers) -> tuple[Integers, Floats]:
        at, weights = np.empty_like(starts), np.empty((4, len(starts)))
        ops.mixing().walk(points, starts, self._found.forms, self._found.neighbors, at, weights)
        return at, weights

    def _in_span(self, points: Floats) -> Floats:  # [3, C]
        """Points moved to the line or plane in which all entries lie, if they lie in one."""
        onto = self._found.onto
        return points if onto is None else onto[:, :3] @ points + onto[:, 3:]


def _sharpened(weights: Floats, strength: float) -> Floats:  # [4, C]
    """The weights divided by the strength, moved to the nearest point of the standard simplex.

    Source: J. Duchi et al. 2008, "Efficient projections onto the l1-ball for learning in high dimensions", figure 1.
    """
    wide = weights / strength
    falling = -np.sort(-wide, axis=0)
    excess = (falling.cumsum(axis=0) - 1) / np.arange(1, 5)[:, None]
    n_kept = (falling > excess).sum(axis=0)
    found: Floats = (wide - np.take_along_axis(excess, n_kept[None] - 1, axis=0)).clip(0)
    return found

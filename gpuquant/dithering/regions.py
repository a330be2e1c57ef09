"""The parts of the color space in which colors are mixed from the same entries."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch

from gpuquant import ops
from gpuquant.dithering.triangulation import triangulate

KEY_BITS = 16  # of a point: there are as many at most as palettes have entries

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Regions:
    """Convex parts of the color space, and the weights of entries there: affine functions of the color.

    Each belongs to a corner, edge, triangle or simplex of the palette's Delaunay triangulation. Two of them touch where
    one has a corner more, whose weight is 0 at the wall between them. A wall belongs to the one without that corner.
    """

    entries: Integers  # [R, 4]: those of the corners, and the first one again in the place of others
    levels: Floats  # [R, 4, 3]: of these entries
    sizes: Integers  # [R]: of how many entries a region's colors are mixed
    weights: Floats  # [G R, 4, 4]: that of entry i for a color c is weights[:, i, :3] . c + weights[:, i, 3]
    walls: Floats  # [G R, 4, 4]: the same ones, 1 at a distance of one level in R, G or B from the wall, on this side
    behind: Integers  # [R, 4]: the region behind the wall where the weight of an entry is 0, or -1
    first_front: Integers  # [R + 1]: where the walls that are seen from the other side begin
    fronts: Integers  # 4 times the region of such a wall, and its number there

    def of(
        self,
        colors: Bytes,  # [C, 3]
        cost: int,  # its place
    ) -> npt.NDArray[np.int32]:  # [C]
        """Find the regions of colors: numbers to R for the first cost, then those for the next one."""
        n_regions = len(self.sizes)
        walls = self.walls[cost * n_regions : (cost + 1) * n_regions]
        given = (torch.from_numpy(part) for part in (colors, walls, self.behind, self.first_front, self.fronts))
        found: npt.NDArray[np.int32] = ops.walk_to_regions(*given).numpy() + np.int32(cost * n_regions)
        return found

    def shares(self, colors: Bytes, here: npt.NDArray[np.int32]) -> Floats:  # [C, 3], [C] -> [C, 4]
        """The weights of the entries of each color's region."""
        forms = self.weights[here]
        found: Floats = (forms[:, :, :3] @ colors[:, :, None].astype(np.float64))[:, :, 0] + forms[:, :, 3]
        return found

    def means(self, colors: Bytes, here: npt.NDArray[np.int32]) -> Floats:  # [C, 3], [C] -> [C, 3]
        found: Floats = (self.shares(colors, here)[:, :, None] * self.levels[here % len(self.sizes)]).sum(axis=1)
        return found

    def grains(self, colors: Bytes, here: npt.NDArray[np.int32]) -> Floats:  # [C, 3], [C] -> [C]
        """The mean squared distances of the entries from each color."""
        apart = np.square(self.levels[here % len(self.sizes)] - colors[:, None]).sum(axis=2)
        found: Floats = (self.shares(colors, here) * apart).sum(axis=1)
        return found


def find_regions(
    palette: npt.NDArray[np.uint8],  # [K, 3]
    grain_costs: tuple[float, ...],  # [G], above 0
) -> Regions:
    """For each cost find for every color c the mixture of the lowest |mean - c|^2 + grain_cost sum w |p - c|^2.

    All entries p of such a mixture are as far as each other from z = c + (c - mean) / grain_cost, and none is nearer: z
    lies in the Voronoi cells of all of them, and the mean between them. So the corners of a mixture are those of an
    element of the Delaunay triangulation, and its colors c = (grain_cost z + mean) / (1 + grain_cost) are the sum of
    that element and of the one that belongs to it in the Voronoi diagram, each by its factor.
    """
    found = triangulate(palette)
    elements = [_elements(found.simplices, size, found.n_entries) for size in range(1, 5)]
    starts = np.cumsum([0, *(len(part) for part in elements)])
    weights, behind = np.zeros((len(grain_costs), starts[-1], 4, 4)), np.full((starts[-1], 4), -1)
    corners = np.empty((starts[-1], 4), np.int64)
    for size, rows in enumerate(elements, 1):
        part = slice(starts[size - 1], starts[size])
        corners[part, :size], corners[part, size:] = rows, rows[:, :1]
        for found_weights, grain_cost in zip(weights, grain_costs, strict=True):
            found_weights[part, :size] = _weights(found.points[rows], grain_cost)
        for corner in range(size if size > 1 else 0):
            others = _keys(np.delete(rows, corner, axis=1))
            behind[part, corner] = starts[size - 2] + np.searchsorted(_keys(elements[size - 2]), others)
    steepness = np.abs(weights[..., :3]).sum(axis=3, keepdims=True)
    walls = weights / np.where(steepness > 0, steepness, 1)
    with_wall = np.flatnonzero(behind >= 0)  # 4 times a region, and a corner
    fronts = with_wall[np.argsort(behind.reshape(-1)[with_wall], kind="stable")]
    first_front = np.searchsorted(behind.reshape(-1)[fronts], np.arange(len(behind) + 1))
    sizes = np.repeat(np.arange(1, 5), np.diff(starts))
    return Regions(
        found.entries[corners],
        found.points[corners],
        sizes,
        weights.reshape(-1, 4, 4),
        walls.reshape(-1, 4, 4),
        behind,
        first_front,
        fronts,
    )


def _elements(simplices: Integers, size: int, n_entries: int) -> Integers:  # [T, 4] -> [E, size], by their keys
    """The corners, edges, triangles or simplices that have no helping point, each once."""
    rows = np.sort(simplices, axis=1)[:, list(combinations(range(4), size))].reshape(-1, size)
    rows = rows[rows[:, -1] < n_entries]
    return rows[np.unique(_keys(rows), return_index=True)[1]]


def _keys(rows: Integers) -> npt.NDArray[np.uint64]:  # [E, size], ascending in each row -> [E]
    keys = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        keys = keys << np.uint64(KEY_BITS) | column.astype(np.uint64)
    return keys


def _weights(
    corners: Floats,  # [E, size, 3]
    grain_cost: float,
) -> Floats:  # [E, size, 4]
    """The mean is (1 + grain_cost) c - grain_cost z, moved to the span of the corners, with any z as far from all."""
    origin, ways = corners[:, 0], corners[:, 1:] - corners[:, :1]
    n_ways = ways.shape[1]
    if n_ways == 0:
        return np.broadcast_to([0.0, 0.0, 0.0, 1.0], (len(corners), 1, 4))
    squares = np.square(ways).sum(axis=2) / 2
    if n_ways == 1:
        axes = np.eye(3)[np.abs(ways[:, 0]).argmin(axis=1)]
        ways = np.stack([ways[:, 0], np.cross(ways[:, 0], axes)], axis=1)
    if ways.shape[1] == 2:
        ways = np.concatenate([ways, np.cross(ways[:, :1], ways[:, 1:])], axis=1)
    forms = np.linalg.inv(ways).transpose(0, 2, 1)[:, :n_ways]  # [E, n, 3]: of the mean, from the first corner on
    middle = (squares[:, :, None] * forms).sum(axis=1)  # from the first corner to a point as far from all
    moved = (1 + grain_cost) * origin + grain_cost * middle
    offsets = -(forms * moved[:, None]).sum(axis=2, keepdims=True)
    others = np.concatenate([(1 + grain_cost) * forms, offsets], axis=2)
    first = np.array([0.0, 0.0, 0.0, 1.0]) - others.sum(axis=1, keepdims=True)
    return np.concatenate([first, others], axis=1)

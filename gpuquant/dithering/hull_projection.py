"""HullProjection: the nearest point of a palette's convex hull, as a mixture of the entries there."""

import math

import numpy as np
import numpy.typing as npt

from gpuquant import ops
from gpuquant.dithering.triangulation import Triangulation

SIDE = (
    8  # levels, of cells whose points look at the same faces and edges: about as many as a photo has in 16,384 colors
)
RADIUS = SIDE * math.sqrt(3) / 2
FAR = 1 << 12  # cells: colors that are moved to the plane of a flat palette may lie outside the color cube
PAIRS_AT_ONCE = 1 << 18  # of a cell and an edge: a few megabytes for each thread

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class HullProjection:
    """The faces and edges of a hull.

    The point of a convex body that is nearest to a point outside lies on a face above which that point stands upright,
    and no second face has it; or else on an edge, or at its end.

    Which of them can be nearest is found for each cell of the color cube: distances to a face or edge differ by RADIUS
    at most between the middle of a cell and its points, so that whatever is nearest to one of these is no farther from
    the middle than the hull and twice that.
    """

    def __init__(self, found: Triangulation) -> None:
        points, faces = found.points, found.faces
        sides = np.sort(faces[:, [[0, 1], [0, 2], [1, 2]]], axis=2)  # [F, 3, 2]
        edges, edges_of_faces = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)  # [E, 2]
        corners = points[faces]  # [F, 3, 3]
        ways = corners[:, 1:] - corners[:, :1]  # [F, 2, 3]
        normals = np.cross(ways[:, 0], ways[:, 1])
        inwards = ((points.mean(axis=0) - corners[:, 0]) * normals).sum(axis=1) > 0
        normals *= np.where(inwards, -1, 1)[:, None] / np.linalg.norm(normals, axis=1, keepdims=True)
        inverses = np.linalg.inv(np.concatenate([ways, normals[:, None]], axis=1).transpose(0, 2, 1))
        forms = np.concatenate([inverses, -(inverses @ corners[:, 0, :, None])], axis=2)  # [F, 3, 4]
        along = points[edges[:, 1]] - points[edges[:, 0]]
        self._face_forms = np.ascontiguousarray(forms.transpose(1, 2, 0))  # [3, 4, F]
        self._starts, self._ways = points[edges[:, 0]].T.copy(), along.T.copy()  # [3, E]
        self._lengths = np.square(along).sum(axis=1)  # [E]
        self._faces, self._edges = faces.T.copy(), edges.T.copy()  # [3, F], [2, E]
        self._edges_of_faces = edges_of_faces.reshape(-1, 3)

    def nearest(
        self,
        points: Floats,  # [3, C], outside the hull; neighbors are best close together
    ) -> tuple[Integers, Floats]:  # [4, C]: points of the triangulation; [4, C]: their weights
        """Mix the nearest point of the hull."""
        cells = np.floor(points / SIDE).astype(np.int64) + FAR
        keys, place = np.unique(cells[0] | cells[1] << 16 | cells[2] << 32, return_inverse=True)
        middles = np.stack([keys & 0xFFFF, keys >> 16 & 0xFFFF, keys >> 32], axis=1) - FAR + 0.5
        corners, weights = np.empty((4, points.shape[1]), np.int64), np.empty((4, points.shape[1]))
        place, step = place.reshape(-1), max(1, PAIRS_AT_ONCE // self._edges.shape[1])
        for start in range(0, len(keys), step):
            here = np.flatnonzero((place >= start) & (place < start + step))
            candidates = self._candidates(middles[start : start + step] * SIDE)
            found = np.empty((4, len(here)), np.int64), np.empty((4, len(here)))
            hull = self._face_forms, self._faces, self._starts, self._ways, self._lengths, self._edges
            ops.mixing().nearest_on_hull(points[:, here], place[here] - start, *candidates, *hull, *found)
            corners[:, here], weights[:, here] = found
        return corners, weights

    def _candidates(self, middles: Floats) -> tuple[Integers, Integers]:  # [n, 3] -> [most, n] faces, [most, n] edges
        """The faces and edges that may be nearest to points of cells; the nearest ones again where there are less."""
        apart = middles[:, :, None] - self._starts  # [n, 3, E]
        share = (np.einsum("nce,ce->ne", apart, self._ways) / self._lengths).clip(0, 1)
        edge_apart = np.sqrt(np.square(apart - share[:, None] * self._ways).sum(axis=1))  # [n, E]
        forms = np.einsum("rcf,nc->rnf", self._face_forms[:, :3], middles)
        second, third, height = forms + self._face_forms[:, 3, None]  # [n, F]
        upright = (second >= 0) & (third >= 0) & (second + third <= 1)
        face_apart = np.where(upright, np.abs(height), edge_apart[:, self._edges_of_faces].min(axis=2))  # [n, F]
        limit = face_apart.min(axis=1, keepdims=True) * (height > 0).any(axis=1, keepdims=True) + 2 * RADIUS
        face_apart[height < -RADIUS] = np.inf
        return _nearest_first(face_apart, limit), _nearest_first(edge_apart, limit)


def _nearest_first(apart: Floats, limit: Floats) -> Integers:  # [n, S], [n, 1] -> [most, n]
    most = max(1, int((apart <= limit).sum(axis=1).max()))
    order = np.argsort(apart, axis=1, kind="stable")[:, :most]
    near = np.take_along_axis(apart, order, axis=1) <= limit
    return np.ascontiguousarray(np.where(near, order, order[:, :1]).T)

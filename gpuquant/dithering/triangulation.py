"""The Delaunay triangulation of a palette, with exact volumes: levels are integers."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import numpy.typing as npt

UNEVENNESS = 2.0**-6  # see `triangulate`

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Simplices that fill the convex hull of a palette."""

    points: Floats  # [P, 3]: the distinct entries, in levels, and then the helping points of a flat palette
    n_entries: int  # how many are distinct
    entries: Integers  # [n_entries]: the palette entry of each
    simplices: Integers  # [T, 4]: points


def triangulate(
    palette: npt.NDArray[np.uint8],  # [K, 3]
) -> Triangulation:
    """Triangulate the distinct entries, so that the empty sphere of each simplex holds no other entry.

    Such simplices are the lower faces of the convex hull of the points (p, |p|^2) in four dimensions (H. Edelsbrunner
    and R. Seidel 1986, "Voronoi diagrams and arrangements"). Where more than four entries lie on one sphere, as the
    corners of a cube do, there are several such triangulations: heights that are raised at random, by at most
    UNEVENNESS, choose one. No entry is lost by that: were it a mixture of others, it would lie at least 1 below their
    heights, as levels are integers. The grain of a mixture rises by at most UNEVENNESS squared levels.

    A flat palette gets helping points beside its line or plane, which have no share in any mixture of what lies there.
    """
    rows, first = np.unique(palette, axis=0, return_index=True)
    points = rows.astype(np.int64)
    helping, axes = _beside(points)
    simplices = _lower_faces(points, axes)
    added = np.broadcast_to(np.arange(len(rows), len(rows) + len(helping)), (len(simplices), len(helping)))
    every = np.concatenate([points, helping]).astype(np.float64)
    return Triangulation(every, len(rows), first, np.concatenate([simplices, added], axis=1))


def _beside(points: Integers) -> tuple[Integers, list[int]]:  # [P, 3] -> [0 to 3, 3]
    """Helping points beside those that lie in a plane, on a line, or are one; and axes that tell these apart."""
    ways = points - points[0]
    if not ways.any():
        return points[0] + np.eye(3, dtype=np.int64), []
    along = _primitive(ways[np.abs(ways).sum(axis=1).argmax()])
    across = np.cross(along, ways)
    if not across.any():
        other = np.cross(along, np.eye(3, dtype=np.int64)[np.abs(along).argmin()])
        longest = int(np.abs(along).argmax())
        return points[0] + np.stack([_primitive(other), _primitive(np.cross(along, other))]), [longest]
    normal = _primitive(across[np.abs(across).sum(axis=1).argmax()])
    if (ways @ normal).any():
        return points[:0], [0, 1, 2]
    return (points[0] + normal)[None], [axis for axis in range(3) if axis != np.abs(normal).argmax()]


def _primitive(way: Integers) -> Integers:  # [3]: the shortest integers in this direction
    return way // max(1, gcd(*(int(part) for part in way)))


def _lower_faces(points: Integers, axes: list[int]) -> Integers:  # [P, 3] -> [T, D + 1] places
    """Simplices, triangles of a plane, parts of a line or a point, by the D axes."""
    if len(points) == len(axes) + 1:
        return np.arange(len(points))[None]
    if len(axes) == 1:
        order = points[:, axes[0]].argsort()
        return np.column_stack([order[:-1], order[1:]])
    from scipy.spatial import ConvexHull  # nothing else needs it, and it takes a tenth of a second to import

    heights = np.square(points - points.mean(axis=0)).sum(axis=1)
    heights += np.random.RandomState(0).uniform(0, UNEVENNESS, len(points))
    hull = ConvexHull(np.column_stack([points[:, axes], heights]))
    ways = points[hull.simplices[:, 1:]] - points[hull.simplices[:, :1]]
    ways = ways[:, :, axes]
    if len(axes) == 3:
        volumes = (ways[:, 0] * np.cross(ways[:, 1], ways[:, 2])).sum(axis=1)
    else:
        volumes = ways[:, 0, 0] * ways[:, 1, 1] - ways[:, 0, 1] * ways[:, 1, 0]
    is_lower = (volumes != 0) & (hull.equations[:, len(axes)] < 0)  # volumes are exact: walls of the hull have none
    simplices: Integers = hull.simplices[is_lower].astype(np.int64)
    return simplices

"""The Delaunay triangulation of a palette, with exact volumes: levels are integers."""

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

UNEVENNESS = 2.0**-6  # see `triangulate`

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Simplices that fill the convex hull of a palette."""

    points: Floats  # [P, 3]: the distinct entries, in levels, and the helping points of a flat palette
    entries: Integers  # [P]: the palette entry of each point; of a helping point any
    corners: Integers  # [4, T]: points
    forms: Floats  # [4, 4, T]: barycentric coordinate i of q is forms[i, :3] . q + forms[i, 3]
    neighbors: Integers  # [4, T]: the simplex behind the face opposite to corner i; -1 on the hull
    faces: Integers  # [F, 3]: points of the hull's triangles
    first_link: Integers  # [P + 1]: where the links of each point begin
    links: Integers  # points, without helping ones, that share an edge with that one
    onto: Floats | None  # [3, 4]: moves q to the line or plane of a flat palette; None where it has a volume


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
    points, onto = _with_volume(rows.astype(np.int64))
    entries = np.concatenate([first, np.full(len(points) - len(rows), first[0])])
    simplices, neighbors = _lower_faces(points)
    first_link, links = _links(simplices, len(points), len(rows))
    simplex, face = np.nonzero(neighbors < 0)
    kept = np.array([[place for place in range(4) if place != left_out] for left_out in range(4)])
    return Triangulation(
        points=points.astype(np.float64),
        entries=entries,
        corners=np.ascontiguousarray(simplices.T),
        forms=_barycentric_forms(points, simplices),
        neighbors=np.ascontiguousarray(neighbors.T),
        faces=np.take_along_axis(simplices[simplex], kept[face], axis=1),
        first_link=first_link,
        links=links,
        onto=onto,
    )


def _with_volume(points: Integers) -> tuple[Integers, Floats | None]:  # [P, 3] -> [P to P + 3, 3], [3, 4]
    """The points, and helping points if they lie in a plane, on a line, or are one; and what moves colors there."""
    ways = points - points[0]
    if not ways.any():
        axes = np.eye(3, dtype=np.int64)
        return np.concatenate([points, points[0] + axes]), _onto(points[0], np.zeros((0, 3)))
    along = _primitive(ways[np.abs(ways).sum(axis=1).argmax()])
    across = np.cross(along, ways)
    if not across.any():
        other = np.cross(along, np.eye(3, dtype=np.int64)[np.abs(along).argmin()])
        helping = points[0] + np.stack([_primitive(other), _primitive(np.cross(along, other))])
        return np.concatenate([points, helping]), _onto(points[0], along[None])
    normal = _primitive(across[np.abs(across).sum(axis=1).argmax()])
    if (ways @ normal).any():
        return points, None
    return np.concatenate([points, (points[0] + normal)[None]]), _onto(
        points[0], np.stack([along, np.cross(normal, along)])
    )


def _primitive(way: Integers) -> Integers:  # [3]: the shortest integers in this direction
    return way // max(1, gcd(*(int(part) for part in way)))


def _onto(origin: Integers, ways: npt.NDArray[Any]) -> Floats:  # [3], [n, 3] at right angles -> [3, 4]
    units = ways / np.linalg.norm(ways, axis=1, keepdims=True) if len(ways) else np.zeros((1, 3))
    moved = units.T @ units
    return np.column_stack([moved, origin - moved @ origin])


def _lower_faces(points: Integers) -> tuple[Integers, Integers]:  # [P, 3] -> [T, 4] places, [T, 4]
    """The simplices, and for each corner the simplex behind the face opposite to it, or -1."""
    if len(points) == 4:
        return np.arange(4)[None], np.full((1, 4), -1)
    from scipy.spatial import ConvexHull  # nothing else needs it, and it takes a tenth of a second to import

    heights = np.square(points - points.mean(axis=0)).sum(axis=1)
    heights += np.random.RandomState(0).uniform(0, UNEVENNESS, len(points))
    hull = ConvexHull(np.column_stack([points, heights]))
    ways = points[hull.simplices[:, 1:]] - points[hull.simplices[:, :1]]
    volumes = (ways[:, 0] * np.cross(ways[:, 1], ways[:, 2])).sum(axis=1)  # exact: walls of the hull have none
    lower = (volumes != 0) & (hull.equations[:, 3] < 0)
    numbers = np.where(lower, lower.cumsum() - 1, -1)
    return hull.simplices[lower].astype(np.int64), numbers[hull.neighbors[lower]]


def _links(simplices: Integers, n_points: int, n_entries: int) -> tuple[Integers, Integers]:  # [P + 1], [L]
    pairs = simplices[:, [[one, other] for one in range(4) for other in range(4) if one != other]].reshape(-1, 2)
    pairs = pairs[pairs[:, 1] < n_entries]
    own, other = np.divmod(np.unique(pairs[:, 0] * n_points + pairs[:, 1]), n_points)
    return np.searchsorted(own, np.arange(n_points + 1)), other


def _barycentric_forms(points: Integers, simplices: Integers) -> Floats:  # [P, 3], [T, 4] -> [4, 4, T]
    """Coordinate i of q is the volume of the simplex with q in place of corner i, over that with all its corners."""
    forms = np.empty((4, 4, len(simplices)))
    for corner in range(4):
        base, second, third = (points[simplices[:, (corner + turn) % 4]] for turn in (1, 2, 3))
        normal = np.cross(second - base, third - base)
        offset = -(normal * base).sum(axis=1)
        volume = (normal * points[simplices[:, corner]]).sum(axis=1) + offset
        forms[corner, :3] = (normal / volume[:, None]).T
        forms[corner, 3] = offset / volume
    return forms

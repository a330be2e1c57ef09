"""Mixtures of palette entries, color by color, as compiled loops."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled
from gpuquant.ops.dithering.cpu_mixture_order import put_in_order, write_down

__all__ = ["TOLERANCE", "nearest_on_hull", "put_in_order", "smooth", "walk", "write_down"]

TOLERANCE = 1e-9  # of a weight: those of levels are exact but for the last division
MOST_STEPS = 1000  # from simplex to simplex; a few are usual
MOST_EXCHANGES = 1000  # of entries in a mixture; 16 microseconds a color were the most seen
LEAST_PART = 1e-7  # of a squared distance that counts as shorter

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@compiled
def walk(
    points: Floats,  # [3, C]
    starts: Integers,  # [C]: the simplex in which to begin
    forms: Floats,  # [4, 4, T]: barycentric coordinate i of q is forms[i, :3] . q + forms[i, 3]
    neighbors: Integers,  # [4, T]: the simplex behind the face opposite to corner i, or -1
    at: Integers,  # [C], written: a simplex
    weights: Floats,  # [4, C], written: coordinates there, below 0 if outside all
) -> None:
    """Go from simplex to simplex, through the face that a point is farthest behind, until it lies in one.

    Such a walk ends in a Delaunay triangulation (O. Devillers et al. 2002, "Walking in a triangulation").
    """
    for place in range(len(starts)):
        red, green, blue = points[0, place], points[1, place], points[2, place]
        here = starts[place]
        for _ in range(MOST_STEPS):
            at[place] = here
            lowest, face = np.inf, 0
            for corner in range(4):
                weight = forms[corner, 0, here] * red + forms[corner, 1, here] * green
                weight = weight + forms[corner, 2, here] * blue + forms[corner, 3, here]
                weights[corner, place] = weight
                if weight < lowest:
                    lowest, face = weight, corner
            onward = neighbors[face, here]
            if lowest >= -TOLERANCE or onward < 0:
                break
            here = onward


@compiled
def nearest_on_hull(
    points: Floats,  # [3, C], outside
    cells: Integers,  # [C]: the cell of each point
    near_faces: Integers,  # [A, n]: the faces that may have the nearest point to one of a cell
    near_edges: Integers,  # [B, n]: and the edges
    face_forms: Floats,  # [3, 4, F]: for q the second and third weight, and the height outside
    faces: Integers,  # [3, F]: points
    starts: Floats,  # [3, E]
    ways: Floats,  # [3, E]: from the start of an edge to its end
    lengths: Floats,  # [E]: their squared lengths
    edges: Integers,  # [2, E]: points
    corners: Integers,  # [4, C], written: points of the hull
    weights: Floats,  # [4, C], written: 0 from the third or fourth on
) -> None:
    """Mix the nearest point of a hull: on the face above which a point stands upright, or else on the nearest edge."""
    value = np.empty(3)
    for place in range(len(cells)):
        red, green, blue, cell = points[0, place], points[1, place], points[2, place], cells[place]
        upright = False
        for candidate in range(len(near_faces)):
            face = near_faces[candidate, cell]
            for row in range(3):
                part = face_forms[row, 0, face] * red + face_forms[row, 1, face] * green
                value[row] = part + face_forms[row, 2, face] * blue + face_forms[row, 3, face]
            first = 1 - value[0] - value[1]
            if value[2] >= 0 and min(first, value[0], value[1]) >= -TOLERANCE:
                weights[0, place], weights[1, place], weights[2, place] = first, value[0], value[1]
                for row in range(3):
                    corners[row, place] = faces[row, face]
                corners[3, place], weights[3, place] = faces[0, face], 0
                upright = True
                break
        if upright:
            continue
        nearest = np.inf
        for candidate in range(len(near_edges)):
            edge = near_edges[candidate, cell]
            x, y, z = red - starts[0, edge], green - starts[1, edge], blue - starts[2, edge]
            share = (x * ways[0, edge] + y * ways[1, edge] + z * ways[2, edge]) / lengths[edge]
            share = min(max(share, 0.0), 1.0)
            x, y, z = x - share * ways[0, edge], y - share * ways[1, edge], z - share * ways[2, edge]
            squared = x * x + y * y + z * z
            if squared < nearest:
                nearest = squared
                corners[0, place], corners[1, place] = edges[0, edge], edges[1, edge]
                corners[2, place], corners[3, place] = edges[0, edge], edges[0, edge]
                weights[0, place], weights[1, place] = 1 - share, share
                weights[2, place], weights[3, place] = 0, 0


@compiled
def smooth(
    targets: Floats,  # [3, C]: what the mixtures give, exactly
    entries: Floats,  # [P, 3]
    first_neighbor: Integers,  # [P + 1]: where those of each entry begin
    neighbors: Integers,  # entries that share an edge of the triangulation
    grain_cost: float,
    most_off: float,  # levels, or infinite
    corners: Integers,  # [4, C]: entries, changed
    weights: Floats,  # [4, C]: changed
) -> None:
    """Lower |mean - target|^2 + grain_cost sum w |p - target|^2 as far as the mean stays within `most_off`.

    At the lowest all entries that are used are as far as each other from

        z = target + (target - mean) / grain_cost,

    and none is nearer: a nearer one comes in, and one whose weight would fall below 0 goes out, as in P. Wolfe 1976,
    "Finding the nearest point in a polytope". Whether an entry is the nearest to z is seen from its neighbors in the
    Delaunay triangulation. Where the mean is farther off than it may be the cost is lowered, color by color.
    """
    used, share, wanted = np.zeros(5, np.int64), np.empty(5), np.empty(5)
    target, z, ways, gram = np.empty(3), np.empty(3), np.empty((4, 3)), np.empty((3, 4))
    forms, are_formed, n_used = (
        np.empty((4, 4)),
        False,
        np.int64(0),
    )  # a plain 0 has a type of its own; forms of the weights that `_best_weights` finds
    for place in range(targets.shape[1]):
        target[0], target[1], target[2] = targets[0, place], targets[1, place], targets[2, place]
        stays = True
        if n_used == 0:  # later colors go on from the mixture of the one before, a neighbor
            for corner in range(4):
                if weights[corner, place] > TOLERANCE:
                    used[n_used], share[n_used] = corners[corner, place], weights[corner, place]
                    n_used += 1
        cost, done = grain_cost, False
        for _ in range(MOST_EXCHANGES):
            if are_formed:
                for one in range(n_used):
                    along = forms[one, 0] * target[0] + forms[one, 1] * target[1] + forms[one, 2] * target[2]
                    wanted[one] = along + forms[one, 3]
            elif not _best_weights(entries, used, n_used, target, cost, wanted, ways, gram):
                break
            n_left = _step_towards(used, share, wanted, n_used)
            if n_left < n_used:
                n_used, stays, are_formed = n_left, False, False
                continue
            off = 0.0
            for axis in range(3):
                mean = 0.0
                for one in range(n_used):
                    mean += share[one] * entries[used[one], axis]
                z[axis] = target[axis] - mean
                off += z[axis] * z[axis]
            for axis in range(3):
                z[axis] = target[axis] + z[axis] / cost
            own = used[0]
            nearest, entry = _apart(entries, own, z), np.int64(-1)
            limit = nearest - LEAST_PART * (1 + nearest)
            for index in range(first_neighbor[own], first_neighbor[own + 1]):
                apart = _apart(entries, neighbors[index], z)
                if apart < limit:
                    limit, entry = apart, neighbors[index]
            if entry >= 0:
                n_used = _bring_in(entries, used, share, n_used, entry, wanted, ways, gram)
                stays, are_formed = False, False
            elif off <= most_off * most_off:
                done = True
                break
            else:  # the best mixture at this cost is off too far; the mean moves about as the cost does
                cost *= 0.98 * most_off / np.sqrt(off)
                stays, are_formed = False, False
        if not done and most_off < np.inf:  # it keeps what it had
            n_used, are_formed = np.int64(0), False
            continue
        if stays and done and not are_formed:  # the next ones are mixed from the same entries, mostly
            _fill_forms(entries, used, n_used, cost, wanted, ways, gram, z, forms)
            are_formed = True
        for corner in range(4):
            inside = corner < n_used
            corners[corner, place] = used[corner] if inside else used[0]
            weights[corner, place] = share[corner] if inside else 0


@compiled
def _apart(entries: Floats, entry: Any, z: Floats) -> Any:  # the squared distance
    red, green, blue = entries[entry, 0] - z[0], entries[entry, 1] - z[1], entries[entry, 2] - z[2]
    return red * red + green * green + blue * blue


@compiled
def _fill(entries: Floats, used: Integers, n_used: Any, ways: Floats, gram: Floats) -> None:
    """The ways from the first entry to the others, and their inner products."""
    for one in range(n_used - 1):
        for axis in range(3):
            ways[one, axis] = entries[used[one + 1], axis] - entries[used[0], axis]
        for other in range(one + 1):
            product = ways[one, 0] * ways[other, 0] + ways[one, 1] * ways[other, 1] + ways[one, 2] * ways[other, 2]
            gram[one, other], gram[other, one] = product, product


@compiled
def _solve(gram: Floats, n_ways: int, found: Floats) -> bool:
    """Solve gram x = its last column by elimination; False if the ways lie in a plane or on a line.

    The first place of what is found is left for the first entry.
    """
    for row in range(n_ways):
        if row > 0 and gram[row, row] <= 1e-10 * found[row]:  # of a way's length, which is there, nothing is left
            return False
        for below in range(row + 1, n_ways):
            if row == 0:
                found[below] = gram[below, below]
            factor = gram[below, row] / gram[row, row]
            for column in range(row, n_ways):
                gram[below, column] -= factor * gram[row, column]
            gram[below, 3] -= factor * gram[row, 3]
    for row in range(n_ways - 1, -1, -1):
        total = gram[row, 3]
        for column in range(row + 1, n_ways):
            total -= gram[row, column] * found[column + 1]
        found[row + 1] = total / gram[row, row]
    return True


@compiled
def _best_weights(
    entries: Floats,
    used: Integers,
    n_used: Any,
    target: Floats,
    cost: float,
    wanted: Floats,
    ways: Floats,
    gram: Floats,
) -> bool:
    """The weights that add up to 1, of whatever sign, at which the used entries are equally far from z.

    False where the entries lie in a plane or on a line that fewer would fill.
    """
    _fill(entries, used, n_used, ways, gram)
    base = _apart(entries, used[0], target)
    for one in range(n_used - 1):
        along = 0.0
        for axis in range(3):
            along += ways[one, axis] * (target[axis] - entries[used[0], axis])
        gram[one, 3] = along - cost / 2 * (_apart(entries, used[one + 1], target) - base)
    if not _solve(gram, n_used - 1, wanted):
        return False
    wanted[0] = 1.0
    for one in range(1, n_used):
        wanted[0] -= wanted[one]
    return True


@compiled
def _fill_forms(
    entries: Floats,
    used: Integers,
    n_used: Any,
    cost: float,
    wanted: Floats,
    ways: Floats,
    gram: Floats,
    target: Floats,  # [3]: written
    forms: Floats,  # [4, 4]: written; the best weight of an entry is forms[i, :3] . target + forms[i, 3]
) -> None:
    for axis in range(-1, 3):
        target[:] = 0
        if axis >= 0:
            target[axis] = 256
        _best_weights(entries, used, n_used, target, cost, wanted, ways, gram)
        for one in range(n_used):
            if axis < 0:
                forms[one, 3] = wanted[one]
            else:
                forms[one, axis] = (wanted[one] - forms[one, 3]) / 256


@compiled
def _step_towards(used: Integers, share: Floats, wanted: Floats, n_used: Any) -> Any:
    """Change the shares to the wanted ones, or as far as none falls below 0; an entry that has none left goes out."""
    step, leaving = 1.0, np.int64(-1)
    for one in range(n_used):
        if wanted[one] < 0 and share[one] / (share[one] - wanted[one]) < step:
            step, leaving = share[one] / (share[one] - wanted[one]), np.int64(one)
    for one in range(n_used):
        share[one] += step * (wanted[one] - share[one])
    return n_used if leaving < 0 else _without(used, share, n_used, leaving)


@compiled
def _without(used: Integers, share: Floats, n_used: Any, leaving: Any) -> Any:
    total = 0.0
    for one in range(leaving, n_used - 1):
        used[one], share[one] = used[one + 1], share[one + 1]
    for one in range(n_used - 1):
        share[one] = max(share[one], 0.0)
        total += share[one]
    for one in range(n_used - 1):
        share[one] /= total
    return n_used - 1


@compiled
def _bring_in(
    entries: Floats, used: Integers, share: Floats, n_used: Any, entry: Any, parts: Floats, ways: Floats, gram: Floats
) -> Any:
    """Add an entry. One that is a mixture of the others takes their place as far as none falls below 0."""
    used[n_used], share[n_used] = entry, 0.0
    if n_used < 4:
        _fill(entries, used, n_used + 1, ways, gram)
        for one in range(n_used):
            gram[one, 3] = 0.0
        if _solve(gram, n_used, parts):
            return n_used + 1
    _fill(entries, used, n_used, ways, gram)
    for one in range(n_used - 1):
        gram[one, 3] = 0.0
        for axis in range(3):
            gram[one, 3] += ways[one, axis] * (entries[entry, axis] - entries[used[0], axis])
    _solve(gram, n_used - 1, parts)  # it succeeds: no used entry is a mixture of the others
    parts[0] = 1.0
    for one in range(1, n_used):
        parts[0] -= parts[one]
    step, leaving = np.inf, np.int64(0)
    for one in range(n_used):
        if parts[one] > TOLERANCE and share[one] < step * parts[one]:
            step, leaving = share[one] / parts[one], np.int64(one)
    for one in range(n_used):
        share[one] -= step * parts[one]
    share[n_used] = step
    return _without(used, share, n_used + 1, leaving)

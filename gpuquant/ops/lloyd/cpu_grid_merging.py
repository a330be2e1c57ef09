"""Merging of clusters in breathing k-means by compiled loops: two by two, those by which the error rises least."""

import math
from typing import Any, NamedTuple

import numpy as np

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.lloyd.cpu_grid_kernels import COLUMNS, WEIGHT, Array, State, as_entry
from gpuquant.ops.lloyd.cpu_moves import HALF_EVEN

STALE = -1  # in place of a partner that has to be found


class Merging(NamedTuple):
    """Means, costs and partners of clusters, while some are merged."""

    partners: Array  # [most] int32: the best one of each, or STALE
    into: Array  # [most] int32: itself, or, of one that is gone, the one that took it
    means: Array  # [5, most] float64: of clusters that may be merged, and their weights
    lost: Array  # [most] float64: by how much the error of each rises as its mean is rounded to an entry
    costs: Array  # [most] float64: by how much the error rises if each is merged with the best partner, at least
    rises: Array  # [most] float64: by how much with each partner, but for rounding


@compiled
def merge(state: State, n_centers: int, n_kept: int, entry: int, scratch: Merging) -> None:
    """Merge the two clusters by which the error rises least, the first ones on a tie, until so many are left.

    A cluster whose partner has changed has none for now, and as cost the lowest that it can have: that of the others is
    no lower than it was. Another partner is looked for only if that is the lowest of all.
    """
    centers, labels, sums = state.centers, state.labels, state.sums
    means, costs, partners, into = scratch.means, scratch.costs, scratch.partners, scratch.into
    for one in range(n_centers):
        into[one], means[0, one], means[1, one] = one, centers[0, one], centers[1, one]
        means[2, one], means[3, one] = centers[2, one], centers[3, one]
        _find_mean(sums, one, entry, means, scratch.lost)
    for one in range(n_centers):
        _find_partner(sums, scratch, n_centers, one, entry)
    n_left = n_centers
    while n_left > n_kept:
        kept: Any = np.int64(0)
        for one in range(1, n_centers):
            kept = one if costs[one] < costs[kept] else kept
        gone = partners[kept]
        if gone != STALE:
            into[gone], costs[gone], n_left = kept, math.inf, n_left - 1
            for column in range(WEIGHT + 1):
                sums[kept, column] += sums[gone, column]
            _find_mean(sums, kept, entry, means, scratch.lost)
            for column in range(COLUMNS):
                centers[column, kept] = int((means[column, kept] + HALF_EVEN) - HALF_EVEN)
        _find_partner(sums, scratch, n_centers, kept, entry)
        if gone != STALE:
            _compare_with(sums, scratch, n_centers, kept, gone, entry)
    n_left = 0
    for one in range(n_centers):  # into[one] <= one: it has its place already
        if into[one] == one:
            partners[one] = n_left
            for column in range(WEIGHT + 1):
                centers[column, n_left], sums[n_left, column] = centers[column, one], sums[one, column]
            n_left += 1
        else:
            partners[one] = partners[into[one]]
    for place in range(len(labels)):
        labels[place] = partners[labels[place]]


@written_out
def _find_mean(sums: Array, one: int, entry: int, means: Array, lost: Array) -> None:
    """Write the mean of a cluster, if it has a weight, and by how much the error rises as it is rounded."""
    weight, total = float(sums[one, WEIGHT]), 0.0
    if weight > 0:
        for column in range(COLUMNS):
            means[column, one] = sums[one, column] / weight
            off = means[column, one] - as_entry(means[column, one], entry)
            total += off * off
    means[WEIGHT, one], lost[one] = weight, weight * total


@written_out
def _find_partner(sums: Array, scratch: Merging, n_centers: int, one: int, entry: int) -> None:
    """Find the cluster to merge one with, the first of the best ones."""
    means, lost, into, rises = scratch.means, scratch.lost, scratch.into, scratch.rises
    partner, least = one, math.inf
    x, y, z, v, a = means[0, one], means[1, one], means[2, one], means[3, one], means[WEIGHT, one]
    for other in range(n_centers):
        place = np.uintp(other)
        p, q, r, s = means[0, place] - x, means[1, place] - y, means[2, place] - z, means[3, place] - v
        b = means[WEIGHT, place]
        rises[place] = (p * p + q * q + r * r + s * s) * (a * b / (a + b if a + b > 0 else 1.0))
    for other in range(n_centers):
        if rises[other] - (lost[one] + lost[other]) <= least and into[other] == other and other != one:
            cost = _cost(sums, lost, one, other, entry, rises[other])
            if cost < least:
                partner, least = other, cost
    scratch.partners[one], scratch.costs[one] = partner, least


@written_out
def _compare_with(sums: Array, scratch: Merging, n_centers: int, kept: int, gone: int, entry: int) -> None:
    """Compare partners with a cluster that has taken another one, just after a partner was found for it."""
    lost, into, rises, costs, partners = scratch.lost, scratch.into, scratch.rises, scratch.costs, scratch.partners
    for one in range(n_centers):
        if into[one] == one and one != kept:
            if partners[one] == kept or partners[one] == gone:
                partners[one] = STALE
            if rises[one] - (lost[kept] + lost[one]) <= costs[one]:
                cost = _cost(sums, lost, kept, one, entry, rises[one])
                if cost < costs[one] or (cost == costs[one] and kept < partners[one]):
                    costs[one] = cost
                    partners[one] = STALE if partners[one] == STALE else kept


@written_out
def _cost(sums: Array, lost: Array, one: int, other: int, entry: int, rise: float) -> float:
    """By how much the error rises if two clusters share a center that is rounded, from that without rounding."""
    a, b, total = float(sums[one, WEIGHT]), float(sums[other, WEIGHT]), 0.0
    if a > 0 and b > 0:
        for column in range(COLUMNS):
            mean = (sums[one, column] + sums[other, column]) / (a + b)
            off = mean - as_entry(mean, entry)
            total += off * off
    return rise + ((a + b) * total - (lost[one] + lost[other])) if a > 0 and b > 0 else 0.0

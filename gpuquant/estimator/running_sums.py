"""Searches in running sums that are rounded as `numpy.cumsum` rounds them, one addition after the other."""

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

CHUNK = 1 << 16  # values: with their sums 1 MiB of float64

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


def search_shares(
    shares: Callable[[slice], Floats],  # some of n values, not negative
    n_values: int,
    uniform: float,
) -> int:
    """Find the first place where the running sum of some values, divided by the last sum, exceeds a number."""
    numbers, sums = np.empty((2, CHUNK + 1))

    def running(start: int, carry: float) -> Floats:
        part = slice(start, min(start + CHUNK, n_values))
        n_numbers = part.stop - start + 1
        numbers[0], numbers[1:n_numbers] = carry, shares(part)
        return np.cumsum(numbers[:n_numbers], out=sums[:n_numbers])[1:]

    starts = range(0, n_values, CHUNK)
    carries = [0.0]
    for start in starts:
        carries.append(float(running(start, carries[-1])[-1]))
    chunk = int(np.searchsorted(np.array(carries[1:]) / carries[-1], uniform, side="right"))
    within = running(starts[chunk], carries[chunk]) / carries[-1]
    return int(starts[chunk] + np.searchsorted(within, uniform, side="right"))


def search_sums(
    weights: Singles | Floats,  # [N], not negative
    values: Singles | Floats,  # [N] of the same type, not negative
    targets: Floats,  # [L]
) -> list[int]:  # [L]
    """Find the first places where the running sum of weight times value reaches some targets, or else the last place.

    Products and sums are rounded to the type of the values.
    """
    found, pending = [len(values) - 1] * len(targets), list(range(len(targets)))
    products, sums = np.zeros((2, min(CHUNK, len(values)) + 1), values.dtype)
    for start in range(0, len(values), CHUNK):
        n_values = min(CHUNK, len(values) - start)
        products[0] = sums[-1]
        np.multiply(weights[start : start + n_values], values[start : start + n_values], out=products[1 : n_values + 1])
        running = np.cumsum(products[: n_values + 1], out=sums[: n_values + 1])[1:]
        for draw in [draw for draw in pending if targets[draw] <= running[-1]]:
            found[draw] = start + int(np.searchsorted(running, targets[draw]))
            pending.remove(draw)
        if not pending:
            break
    return found


def search_equal_shares(n_values: int, uniform: float) -> int:
    """Do what `search_shares` does where every value is 1 / n, without making all the additions.

    Between two powers of two all floating-point numbers are multiples of one unit u, and to add a value and round is to
    add the value rounded to a multiple of u.
    """
    share = 1 / n_values
    pieces = [(0, 0.0, 0.0)]  # additions so far, their sum, and the step of each addition until the next piece
    n_added, total = 0, 0.0
    while n_added < n_values:
        before, total, n_added = total, total + share, n_added + 1
        unit = math.ulp(total)
        step = round(share / unit) * unit
        pieces.append((n_added, total, step))
        # a share half-way between two multiples of u makes the first sum even, and rounded to even it stays so
        if math.frexp(before)[1] == math.frexp(total)[1]:
            room = math.ldexp(1.0, math.frexp(total)[1]) - unit - total
            n_equal = min(int(room / step), n_values - n_added)
            n_added, total = n_added + n_equal, total + n_equal * step

    def sum_of(n_terms: int) -> float:
        n_before, before, step = pieces[bisect_right(pieces, n_terms, key=lambda piece: piece[0]) - 1]
        return before + (n_terms - n_before) * step

    last = sum_of(n_values)
    return bisect_right(range(n_values), uniform, key=lambda index: sum_of(index + 1) / last)

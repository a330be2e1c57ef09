"""Labels of samples of few columns, and nothing else of a Lloyd step: one pass over them by compiled loops.

Single precision scores all centers, and where that leaves a doubt double precision does. What is left is decided by
scores that are rounded as scikit-learn's.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.lloyd.cpu_dense_runs import CHUNK_OF_SCIKIT_LEARN, nearest_as_scikit_learn
from gpuquant.ops.lloyd.cpu_scores import CENTERS, CHUNK, EPS, EPS_SINGLE, LEAST, LEAST_SINGLE, with_score
from gpuquant.threads import share_out, worker_threads

MAX_COLUMNS = 3  # a fourth would take a third more time of all samples
MAX_CLUSTERS = 32  # from 48 on, pixels are labeled sooner folded to distinct colors, however many clusters (measured)
ROWS = 1 << 16  # of a compiled call: 0.1 to 0.4 ms
SHARED = 1 << 21  # scores from which threads share the rows, 0.5 ms: starting them takes a tenth of it
UNSURE = -1  # in place of a label
ROUNDINGS = 3 * (MAX_COLUMNS + 4)  # three times as many as two scores may differ by, each of eps (|x|^2 + 2 |c|^2)

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.uint8] | npt.NDArray[np.floating]


def label_samples(
    samples: Tensor,  # [N, D] float32, float64 or uint8, contiguous, D up to MAX_COLUMNS
    centers: Tensor,  # [K, D] float64, K up to MAX_CLUSTERS
) -> Tensor | None:  # [N] int32
    """Find the nearest center of each sample, the first of equal ones; None where a sample is not finite."""
    numbers, given = samples.numpy(), centers.numpy()
    factors, singles, reach = _factors(given)
    labels = np.empty(len(numbers), np.int32)
    is_finite = [True]

    def label(start: int) -> None:
        if not is_finite[0]:
            return
        stop = min(start + ROWS, len(numbers))
        if _label(numbers, start, stop, factors, singles, reach, labels) > 0:
            unsure = start + np.flatnonzero(labels[start:stop] == UNSURE)
            if not _settle(numbers, unsure, given, labels):
                is_finite[0] = False

    n_threads = worker_threads() if len(numbers) * len(given) >= SHARED else 1
    share_out(range(0, len(numbers), ROWS), label, n_threads)
    return torch.from_numpy(labels) if is_finite[0] else None


def _factors(centers: Floats) -> tuple[Floats, Singles, float]:  # [K and missing, 5], twice
    """Write |c|^2, -2 c and the number of each center; and the largest |c|^2, which is that of the samples' bounds."""
    n_columns = centers.shape[1]
    squares = np.square(centers).sum(axis=1)
    factors = np.zeros((-(-len(centers) // CENTERS) * CENTERS, MAX_COLUMNS + 2))
    factors[:, 0], factors[:, -1] = np.inf, np.arange(len(factors))
    first = np.unique(centers, axis=0, return_index=True)[1]  # equal ones leave no doubt: the first of them wins
    factors[first, 0], factors[first, 1 : 1 + n_columns] = squares[first], -2 * centers[first]
    with np.errstate(over="ignore"):
        return factors, factors.astype(np.float32), float(squares.max())


@compiled
def _label(
    samples: Numbers,  # [N, D]
    start: int,
    stop: int,
    factors: Floats,  # [K and missing, 5]: |c|^2, -2 c and the number of each center
    singles: Singles,  # the same
    reach: float,  # the largest |c|^2
    labels: Labels,  # [N]: written, UNSURE where rounding decides
) -> int:  # how many are unsure
    """Find the lowest score |c|^2 - 2 x.c of every sample, the second lowest, and the first center that has the lowest.

    A score is off by at most D + 4 roundings by eps / 2 of |c|^2 + 2 |x| |c| <= |x|^2 + 2 |c|^2.
    """
    columns, squares = np.empty((MAX_COLUMNS, CHUNK), np.float32), np.empty(CHUNK, np.float32)
    lowest, second, found = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    share, least = np.float32(ROUNDINGS * EPS_SINGLE), np.float32(ROUNDINGS * (2 * EPS_SINGLE * reach + LEAST_SINGLE))
    last = np.uintp(samples.shape[1] - 1)  # of fewer columns the last one is there again, times 0
    middle = min(last, np.uintp(1))
    n_unsure = 0
    for first in range(np.uintp(start), np.uintp(stop), np.uintp(CHUNK)):
        n = min(np.uintp(CHUNK), np.uintp(stop) - first)
        for j in range(n):
            columns[0, j] = samples[first + j, 0]
            columns[1, j] = samples[first + j, middle]
            columns[2, j] = samples[first + j, last]
        for j in range(n):
            squares[j] = columns[0, j] * columns[0, j] + columns[1, j] * columns[1, j] + columns[2, j] * columns[2, j]
        for j in range(n):
            lowest[j], second[j], found[j] = np.inf, np.inf, 0
        for k in range(0, len(singles), CENTERS):
            a, a_red, a_green, a_blue, a_number = singles[k]
            b, b_red, b_green, b_blue, b_number = singles[k + 1]
            c, c_red, c_green, c_blue, c_number = singles[k + 2]
            d, d_red, d_green, d_blue, d_number = singles[k + 3]
            for j in range(n):
                x, y, z = columns[0, j], columns[1, j], columns[2, j]
                low, next_low, number = lowest[j], second[j], found[j]
                score = a + x * a_red + y * a_green + z * a_blue
                low, next_low, number = with_score(score, a_number, low, next_low, number)
                score = b + x * b_red + y * b_green + z * b_blue
                low, next_low, number = with_score(score, b_number, low, next_low, number)
                score = c + x * c_red + y * c_green + z * c_blue
                low, next_low, number = with_score(score, c_number, low, next_low, number)
                score = d + x * d_red + y * d_green + z * d_blue
                low, next_low, number = with_score(score, d_number, low, next_low, number)
                lowest[j], second[j], found[j] = low, next_low, number
        n_doubts = 0
        for j in range(n):
            labels[first + j] = np.int32(found[j])
            n_doubts += not second[j] - lowest[j] > share * squares[j] + least
        if n_doubts > 0:
            for j in range(n):
                if not second[j] - lowest[j] > share * squares[j] + least:
                    label = _decide(samples, first + j, middle, last, factors, reach)
                    labels[first + j] = label
                    n_unsure += label == UNSURE
    return n_unsure


@compiled
def _decide(samples: Numbers, row: Any, middle: Any, last: Any, factors: Floats, reach: float) -> int:
    """Label one sample in double precision, if rounding does not decide."""
    x, y, z = np.float64(samples[row, 0]), np.float64(samples[row, middle]), np.float64(samples[row, last])
    low, next_low, found = np.inf, np.inf, 0
    for k in range(len(factors)):
        score = factors[k, 0] + x * factors[k, 1] + y * factors[k, 2] + z * factors[k, 3]
        if score < low:
            low, next_low, found = score, low, k
        elif score < next_low:
            next_low = score
    doubt = ROUNDINGS * (EPS * (x * x + y * y + z * z + 2 * reach) + LEAST)
    return found if next_low - low > doubt else UNSURE


def _settle(
    numbers: Numbers,  # [N, D]
    index: npt.NDArray[np.int64],  # [n]: samples, ascending
    centers: Floats,  # [K, D]
    labels: Labels,  # [N]: written
) -> bool:  # whether all are finite
    """Label some samples as scikit-learn's rounding does.

    It depends on the number of samples in a chunk, not on their places: those of whole chunks are put together, equal
    neighbors as one.
    """
    rows = numbers[index].astype(np.float64, copy=False)
    if not np.isfinite(rows).all():
        return False
    whole = len(numbers) - len(numbers) % CHUNK_OF_SCIKIT_LEARN
    n_whole = int(np.searchsorted(index, whole))
    if n_whole < len(index):
        ends = numbers[whole:].astype(np.float64, copy=False)
        labels[index[n_whole:]] = nearest_as_scikit_learn(ends, centers)[index[n_whole:] - whole]
    if n_whole > 0:
        is_new = np.ones(n_whole, np.bool_)
        is_new[1:] = (rows[1:n_whole] != rows[: n_whole - 1]).any(axis=1)
        new = rows[:n_whole][is_new]
        filled = np.concatenate([new, np.zeros((-len(new) % CHUNK_OF_SCIKIT_LEARN, new.shape[1]))])
        labels[index[:n_whole]] = nearest_as_scikit_learn(filled, centers)[is_new.cumsum() - 1]
    return True

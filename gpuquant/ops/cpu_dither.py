"""The passes over dithered pixels on the CPU, in NumPy with worker threads; `torch_dither` has their twins."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.cpu_ops import share_out
from gpuquant.ops.error_diffusion import lanes_of
from gpuquant.ops.torch_ops import worker_threads

CHUNK_PIXELS = 1 << 17
SUMMED_PIXELS = 1 << 13  # whose squared differences an int32 holds


def choose_entries(
    bands: Iterable[tuple[int, Tensor]],  # the first row of a band; [rows, W] int32: the color of each pixel
    low: Tensor,  # [M] int32, 0..65535: the entry of a color where the mask is not below its threshold
    high: Tensor,  # [M] int32, 0..65535: and where it is
    thresholds: Tensor,  # [M] int16
    mask: Tensor,  # [S, S] int16, laid side by side from the image's top left
    labels: Tensor,  # [H, W] uint8 or uint16: written
) -> Tensor:  # [M] int64: how many pixels have `high`
    """Choose the second entry where the mask is below the threshold of the pixel's color, and count these pixels."""
    found = labels.numpy()
    width, side = found.shape[1], len(mask)
    both = _packed(low, high, thresholds, found.dtype)
    tiled = np.tile(mask.numpy(), (1, -(-width // side)))[:, :width]
    n_rows = max(1, CHUNK_PIXELS // width)
    n_workers = worker_threads()
    bins = [torch.zeros(len(low), dtype=torch.int64) for _ in range(n_workers)]  # a worker's own
    patterns = np.empty((n_workers, n_rows, width), np.int16)
    for top, ranks in bands:
        starts = range(0, len(ranks), n_rows)
        free = list(range(n_workers))

        def choose(mine: range, top: int = top, ranks: Tensor = ranks, free: list[int] = free) -> None:
            worker = free.pop()
            for start in mine:
                part = ranks[start : start + n_rows]
                rows = np.arange(top + start, top + start + len(part))
                pattern = tiled.take(rows % side, axis=0, out=patterns[worker, : len(part)], mode="clip")
                places = part.reshape(-1)
                picked = torch.index_select(both, 0, places).numpy()
                entries, limits = picked.view(found.dtype), picked.view(np.int16)
                step = entries.size // len(picked)
                above = np.less(pattern.reshape(-1), limits[found.itemsize :: limits.size // len(picked)])
                chosen = found[rows[0] : rows[-1] + 1].reshape(-1)  # a view: rows are contiguous
                np.multiply(above, entries[1::step], out=chosen)
                chosen += entries[::step]
                bins[worker].index_add_(0, places, torch.from_numpy(above.astype(np.int64)))

        share_out([starts[worker::n_workers] for worker in range(n_workers)], choose, n_workers)
    return torch.from_numpy(np.sum([part.numpy() for part in bins], axis=0))


def tally_labels(
    ranks: Tensor,  # [N] int32: the color of each pixel
    labels: Tensor,  # [N] uint8 or uint16
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
) -> tuple[Tensor, int]:  # [K] int64; the sum of squared differences
    """Count the pixels of each entry, and sum up their squared differences."""
    sources, entries = (lanes_of(levels).numpy().view(np.int64).ravel() for levels in (colors, palette))
    places, indices = ranks.numpy(), labels.numpy()
    found: list[tuple[npt.NDArray[np.int64], int]] = []

    def tally(starts: range) -> None:
        counts, error = np.zeros(len(entries), np.int64), 0
        for start in starts:
            part = slice(start, start + SUMMED_PIXELS)
            chosen = indices[part].astype(np.intp)
            apart = sources.take(places[part]).view(np.int16) - entries.take(chosen).view(np.int16)
            wide = apart.astype(np.int32)
            error += int(np.multiply(wide, wide, out=wide).sum(dtype=np.int32))
            counts += np.bincount(chosen, minlength=len(entries))
        found.append((counts, error))

    starts, n_workers = range(0, len(places), SUMMED_PIXELS), worker_threads()
    share_out([starts[worker::n_workers] for worker in range(n_workers)], tally, n_workers)
    return torch.from_numpy(np.sum([counts for counts, _ in found], axis=0)), sum(error for _, error in found)


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    flat = labels.numpy().reshape(-1)
    becomes = numbers.numpy().astype(flat.dtype)

    def change(start: int) -> None:
        part = flat[start : start + CHUNK_PIXELS]
        part[:] = becomes.take(part, mode="clip")

    share_out(range(0, len(flat), CHUNK_PIXELS), change, worker_threads())


def _packed(
    low: Tensor,  # [M] int32
    high: Tensor,  # [M] int32
    thresholds: Tensor,  # [M] int16
    words: np.dtype[Any],
) -> Tensor:  # [M] int32 or int64: an entry, the way to the other one, and the threshold, to be picked together
    packed = np.zeros(len(low), np.int32 if words.itemsize == 1 else np.int64)
    entries = packed.view(words).reshape(len(low), -1)
    entries[:, 0], entries[:, 1] = low.numpy(), (high - low).numpy()  # to be added, which wraps around
    # after two entries of so many bytes, as many steps of 16 bits
    packed.view(np.int16).reshape(len(low), -1)[:, words.itemsize] = thresholds.numpy()
    return torch.from_numpy(packed)

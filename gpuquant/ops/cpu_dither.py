"""The passes over dithered pixels on the CPU, in NumPy with worker threads; `torch_dither` has their twins."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.cpu_ops import share_out
from gpuquant.ops.error_diffusion import lanes_of

CHUNK_PIXELS = 1 << 16
SUMMED_PIXELS = 1 << 13  # whose squared differences an int32 holds


def choose_entries(
    ranks: Tensor,  # [H, W] int32: the color of each pixel
    low: Tensor,  # [M] int32, 0..65535: the entry of a color where the mask is not below its threshold
    high: Tensor,  # [M] int32, 0..65535: and where it is
    thresholds: Tensor,  # [M] int16
    mask: Tensor,  # [S, S] int16, S a power of two: laid side by side, from the image's top left
    first_row: int,  # of the image, where the ranks are a part of it
    *,
    wide: bool,
) -> tuple[Tensor, Tensor]:  # [H, W] uint8, or int16 (the bits of uint16) where wide; [M] int64: pixels with `high`
    """Choose the second entry where the mask is below the threshold of the pixel's color, and count these pixels."""
    height, width = ranks.shape
    side = len(mask)
    words = np.dtype(np.uint16 if wide else np.uint8)
    both = _packed(low, high, thresholds, words)
    tiled = np.tile(mask.numpy(), (1, -(-width // side)))[:, :width]
    labels = np.empty((height, width), words)
    n_rows = min(side, 1 << max(0, (CHUNK_PIXELS // width).bit_length() - 1))
    n_workers = min(torch.get_num_threads(), -(-height // n_rows))
    bins = [torch.zeros(len(low), dtype=torch.int32) for _ in range(n_workers)]
    free = list(bins)

    def choose(starts: range) -> None:
        counts = free.pop()
        pattern = np.empty((n_rows, width), np.int16)
        for start in starts:
            rows = slice(start, min(start + n_rows, height))
            part = ranks[rows].reshape(-1)
            n = rows.stop - start
            np.take(
                tiled, np.arange(first_row + start, first_row + rows.stop) % side, axis=0, out=pattern[:n], mode="clip"
            )
            picked = torch.index_select(both, 0, part).numpy()
            entries = picked.view(words).reshape(len(part), -1)
            limits = picked.view(np.int16).reshape(len(part), -1)
            above = np.less(pattern[:n].reshape(-1), limits[:, 1 + wide])
            labels[rows] = np.where(above, entries[:, 1], entries[:, 0]).reshape(n, width)
            counts.index_add_(0, part, torch.from_numpy(above.astype(np.int32)))

    starts = range(0, height, n_rows)
    share_out([starts[worker::n_workers] for worker in range(n_workers)], choose, n_workers)
    found = torch.from_numpy(labels.view(np.int16) if wide else labels)
    return found, torch.stack(bins).sum(dim=0)


def tally_labels(
    ranks: Tensor,  # [N] int32: the color of each pixel
    labels: Tensor,  # [N] uint8, or int16 (the bits of uint16)
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
) -> tuple[Tensor, int]:  # [K] int64; the sum of squared differences
    """Count the pixels of each entry, and sum up their squared differences."""
    sources, entries = (lanes_of(levels).numpy().view(np.int64).ravel() for levels in (colors, palette))
    places, indices = ranks.numpy(), labels.numpy()
    if indices.dtype == np.int16:
        indices = indices.view(np.uint16)
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

    starts, n_workers = range(0, len(places), SUMMED_PIXELS), torch.get_num_threads()
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

    share_out(range(0, len(flat), CHUNK_PIXELS), change, torch.get_num_threads())


def _packed(
    low: Tensor,  # [M] int32
    high: Tensor,  # [M] int32
    thresholds: Tensor,  # [M] int16
    words: npt.DTypeLike,
) -> Tensor:  # [M] int32 (two bytes, then the threshold), or int64 (two words, then the threshold)
    wide = np.dtype(words) == np.uint16
    packed = np.zeros(len(low), np.int64 if wide else np.int32)
    entries = packed.view(words).reshape(len(low), -1)
    entries[:, 0], entries[:, 1] = low.numpy(), high.numpy()
    packed.view(np.int16).reshape(len(low), -1)[:, 1 + wide] = thresholds.numpy()
    return torch.from_numpy(packed)

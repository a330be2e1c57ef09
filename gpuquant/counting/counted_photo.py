"""CountedPhoto: a photo's pixels on a device, and its distinct colors as they look."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.alpha import OPAQUE, laid_onto, with_alpha
from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, z_order
from gpuquant.counting.alpha_counts import count_alpha_colors, map_alpha_pixels, rank_table
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.counting.lookup import map_pixels

ToSrgb = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class CountedPhoto:
    """What a palette is fitted to and applied to."""

    colors: Tensor  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct, as they look
    counts: Tensor  # [M] int64
    shape: tuple[int, int]  # height and width
    _rows: Tensor  # [N, 3], [N, 4] or [N] uint8
    _stored: Tensor  # [L, 3 or 4] uint8: the colors of the rows
    _place: Tensor | None  # [L]: which of the colors each stored one is; None if they are the same

    @property
    def has_alpha(self) -> bool:
        return self.colors.shape[1] == 4

    def labels(
        self,
        color_labels: Tensor,  # [M] int32, 0..65535
        *,
        wide: bool,
        chunk_size: int | None = None,
    ) -> Tensor:  # [H, W] uint8, or uint16 where wide
        """Give every pixel the label of its color."""
        if self._place is not None:
            color_labels = color_labels[self._place]
        look_up = map_alpha_pixels if self._stored.shape[1] == 4 else map_pixels
        return look_up(self._rows, self._stored, color_labels, wide=wide, chunk_size=chunk_size).view(self.shape)

    def strips(
        self,
        n_pixels: int,  # of a strip, at most, unless a row has more
    ) -> Iterator[tuple[int, Tensor]]:  # the first row of a strip; [rows, W] int32: which of the colors each pixel is
        """Go through the rows from top to bottom, some at a time."""
        height, width = self.shape
        n_rows = max(1, n_pixels // width)
        place = torch.arange(len(self._stored), device=self._stored.device) if self._place is None else self._place
        with rank_table(self._stored, place.to(torch.int32)) as look_up:
            for top in range(0, height, n_rows):
                rows = self._rows[top * width : (top + n_rows) * width]
                yield top, look_up(rows).view(-1, width)


def count_photo(
    pixels: Tensor,  # [H, W, 3], [H, W, 4] or [H, W] uint8
    device: torch.device,
    *,
    to_srgb: ToSrgb | None = None,
    background: tuple[int, int, int] | None = None,
    chunk_size: int | None = None,
) -> CountedPhoto:
    """Count every distinct color exactly; convert, and lay onto a background, the colors and not the pixels."""
    rows = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        rows = rows.to(device).contiguous()
        if bool((rows[:, 3] == 255).all()):
            rows = rows[:, :3].contiguous()
    if rows.ndim == 2 and rows.shape[1] == 4:
        stored, counts = count_alpha_colors(rows, chunk_size=chunk_size)
    else:
        histogram = ColorHistogram(device)
        rows = histogram.add_rows(rows, chunk_size=chunk_size)
        stored, counts = histogram.colors, histogram.counts
    colors, place = stored, None
    if to_srgb or stored.shape[1] == 4:  # whose colors are put in order, too: draws depend on it
        colors, counts, place = _as_seen(stored, counts, to_srgb, background)
    shape = int(pixels.shape[0]), int(pixels.shape[1])
    return CountedPhoto(colors, counts, shape, rows, stored, place)


def _as_seen(
    stored: Tensor,  # [L, 3 or 4] uint8
    counts: Tensor,  # [L] int64
    to_srgb: ToSrgb | None,
    background: tuple[int, int, int] | None,
) -> tuple[Tensor, Tensor, Tensor]:  # [M, 3 or 4] uint8, [M] int64, [L] int64
    """What stored colors look like: the distinct colors, their counts, and which of them each stored one is."""
    seen = stored.clone()
    if to_srgb:
        seen[:, :3] = torch.from_numpy(to_srgb(stored[:, :3].cpu().numpy())).to(stored.device)
    if seen.shape[1] == 4 and background:
        seen = laid_onto(seen, background)
    return _distinct(seen, counts)


class ColorSum:
    """The distinct colors of many photos together. Threads may add to it.

    Opaque ones are kept in a table, 128 MiB however many there are.
    """

    def __init__(self, device: torch.device) -> None:
        self._lock = threading.Lock()
        self._table = torch.zeros(N_CODES, dtype=torch.int64, device=device)
        self._others = self._table.new_zeros(0, 4).to(torch.uint8), self._table[:0]  # not opaque: colors and counts
        self.n_photos = 0

    def add(self, photo: CountedPhoto) -> None:
        """Add the counts of a photo."""
        colors, counts = photo.colors.to(self._table.device), photo.counts.to(self._table.device)
        opaque = colors[:, 3] == OPAQUE if photo.has_alpha else torch.ones_like(counts, dtype=torch.bool)
        codes = codes_from_colors(colors[opaque]).long()
        with self._lock:
            self._table[codes] += counts[opaque]  # distinct codes
            if photo.has_alpha:
                others = torch.cat([self._others[0], colors[~opaque]]), torch.cat([self._others[1], counts[~opaque]])
                self._others = _distinct(*others)[:2]
            self.n_photos += 1

    def total(self) -> tuple[Tensor, Tensor]:  # [M, 3] uint8 in Z-order, or [M, 4]; [M] int64
        """All colors, with alpha if one is not opaque."""
        codes = self._table.nonzero().view(-1)
        colors, counts = colors_from_codes(codes.to(torch.int32)), self._table[codes]
        if len(self._others[0]):
            colors, counts = torch.cat([with_alpha(colors), self._others[0]]), torch.cat([counts, self._others[1]])
        return _distinct(colors, counts)[:2]


def _distinct(
    colors: Tensor,  # [L, 3 or 4] uint8
    counts: Tensor,  # [L] int64
) -> tuple[Tensor, Tensor, Tensor]:  # [M, 3 or 4] uint8, [M] int64, [L] int64
    """The distinct colors in Z-order, their counts, and which of them each given one is."""
    keys = z_order(colors[:, :3])
    if colors.shape[1] == 4:
        colors = torch.where(colors[:, 3:] == 0, 0, colors)
        keys = torch.where(colors[:, 3] == 0, 0, keys.long() | colors[:, 3].long() << 24)
    unique, place = torch.unique(keys, return_inverse=True)
    found = torch.zeros(len(unique), colors.shape[1], dtype=torch.uint8, device=colors.device)
    found[place] = colors
    return found, torch.zeros_like(unique, dtype=torch.int64).index_add_(0, place, counts), place

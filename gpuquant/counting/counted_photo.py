"""CountedPhoto: a photo's pixels on a device, and its distinct colors as they look."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.alpha import OPAQUE, laid_onto
from gpuquant.counting.alpha_counts import distinct_colors
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.counting.lookup import map_pixels, rank_table

ToSrgb = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class CountedPhoto:
    """A palette is fitted to its colors, and applied to its pixels; with what is to be said about it."""

    colors: Tensor  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct, as they look
    counts: Tensor  # [M] int64
    shape: tuple[int, int]  # height and width
    _rows: Tensor  # [N, 3], [N, 4] or [N] uint8
    _stored: Tensor  # [L, 3 or 4] uint8: the colors of the rows
    _place: Tensor | None  # [L]: which of the colors each stored one is; None if they are the same
    icc_profile: bytes | None = None  # that was kept
    notes: tuple[str, ...] = ()  # what was lost in reading
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage so far
    progress: Callable[[str], None] | None = None  # called with the name of each stage as it begins

    @property
    def device(self) -> torch.device:
        return self.counts.device

    @property
    def has_alpha(self) -> bool:
        return self.colors.shape[1] == 4

    def labels(
        self,
        color_labels: Tensor,  # [M] int32, 0..65535
        *,
        wide: bool,
    ) -> Tensor:  # [H, W] uint8, or uint16 where wide
        """Give every pixel the label of its color."""
        if self._place is not None:
            color_labels = color_labels[self._place]
        return map_pixels(self._rows, self._stored, color_labels, wide=wide).view(self.shape)

    @property
    def seen_rows(self) -> Tensor | None:  # [H, W, 3] or [H, W, 1] uint8
        """The pixels, where all are opaque and look as they are stored."""
        if self._place is not None or self._rows.shape[1:] == (4,):
            return None
        return self._rows.view(*self.shape, -1)

    @contextmanager
    def ranked(self) -> Iterator[Callable[[int, int], Tensor]]:
        """A function that tells of the rows from one to another which of the colors each pixel is: [rows, W] int32."""
        width = self.shape[1]
        place = torch.arange(len(self._stored), device=self.device) if self._place is None else self._place
        with rank_table(self._stored, place.to(torch.int32)) as look_up:
            yield lambda top, bottom: look_up(self._rows[top * width : bottom * width]).view(-1, width)


def count_photo(
    pixels: Tensor,  # [H, W, 3], [H, W, 4] or [H, W] uint8
    device: torch.device,
    *,
    to_srgb: ToSrgb | None = None,
    background: tuple[int, int, int] | None = None,
) -> CountedPhoto:
    """Count every distinct color exactly; convert, and lay onto a background, the colors and not the pixels."""
    rows = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1)
    if rows.ndim == 2 and rows.shape[1] == 4:
        rows = rows.to(device)
        if bool((rows[:, 3] == OPAQUE).all()):
            rows = rows[:, :3]
    histogram = ColorHistogram(device)
    rows = histogram.add_rows(rows)
    stored, counts = histogram.colors, histogram.counts
    colors, place = stored, None
    if to_srgb or (stored.shape[1] == 4 and background):
        seen = stored.clone()
        if to_srgb:
            seen[:, :3] = torch.from_numpy(to_srgb(stored[:, :3].cpu().numpy())).to(device)
        if seen.shape[1] == 4 and background:
            seen = laid_onto(seen, background)
        colors, counts, place = distinct_colors(seen, counts)
    shape = int(pixels.shape[0]), int(pixels.shape[1])
    return CountedPhoto(colors, counts, shape, rows, stored, place)

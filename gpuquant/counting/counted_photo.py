"""CountedPhoto: a photo's pixels as strips, and its distinct colors as they look."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.alpha import OPAQUE, laid_onto
from gpuquant.counting.alpha_counts import distinct_colors
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.counting.lookup import label_lookup

ToSrgb = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
Strips = Callable[[], Iterable[Tensor]]
"""All rows of a photo from the top, some at a time and as often as asked: uint8 [h, W, 3], [h, W, 4] or [h, W]."""


@dataclass(frozen=True, eq=False)
class CountedPhoto:
    """A palette is fitted to its colors, and applied to its pixels; with what is to be said about it."""

    colors: Tensor  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct, as they look
    counts: Tensor  # [M] int64
    shape: tuple[int, int]  # height and width
    _strips: Strips
    _stored: Tensor  # [L, 3 or 4] uint8: the colors of the pixels
    _place: Tensor | None  # [L]: which of the colors each stored one is; None if they are the same
    icc_profile: bytes | None = None  # that was kept
    notes: tuple[str, ...] = ()  # what was lost in reading
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage so far
    progress: Callable[[str], None] | None = None  # called with the name of each stage as it begins
    to_srgb: ToSrgb | None = None  # for stored colors, which these look like

    @property
    def device(self) -> torch.device:
        return self.counts.device

    @property
    def has_alpha(self) -> bool:
        return self.colors.shape[1] == 4

    @property
    def looks_as_stored(self) -> bool:
        """Whether all pixels are opaque and look as they are stored."""
        return self._place is None and not self.has_alpha

    def strips(self) -> Iterator[Tensor]:  # [h, W, 1] (gray), [h, W, 3] or [h, W, 4] uint8
        """The pixels on the device, without an alpha that is opaque everywhere."""
        for strip in self._strips():
            strip = strip.to(self.device)
            n_columns = self._stored.shape[1]
            if strip.ndim == 2:
                yield strip[:, :, None]
            else:
                yield strip if strip.shape[2] == n_columns else strip[:, :, :n_columns]

    def label_strips(
        self,
        color_labels: Tensor,  # [M] uint8 or int32, 0..65535: of each color
        dtype: torch.dtype,  # uint8, uint16 or int32
    ) -> Iterator[Tensor]:  # [h, W] of that dtype
        """Give every pixel the label of its color."""
        with self.lookup(color_labels, dtype) as labels_of:
            for strip in self.strips():
                yield labels_of(strip)

    @contextmanager
    def lookup(
        self,
        color_labels: Tensor,  # [M] uint8 or int32
        dtype: torch.dtype,
    ) -> Iterator[Callable[[Tensor], Tensor]]:
        """A function that gives rows of `strips` the labels of their colors."""
        if self._place is not None:
            color_labels = color_labels[self._place]
        with label_lookup(self._stored, color_labels, dtype) as labels_of:
            yield lambda rows: labels_of(_flat(rows)).view(rows.shape[:2])


def count_photo(
    pixels: Tensor,  # [H, W, 3], [H, W, 4] or [H, W] uint8
    device: torch.device,
    *,
    to_srgb: ToSrgb | None = None,
    background: tuple[int, int, int] | None = None,
) -> CountedPhoto:
    """Count every distinct color exactly; convert, and lay onto a background, the colors and not the pixels.

    The pixels stay on the device.
    """
    histogram = ColorHistogram(device)
    rows = histogram.add_rows(_without_opaque_alpha(_flat(pixels), device))
    shape = int(pixels.shape[0]), int(pixels.shape[1])
    kept = rows.view(*shape, *rows.shape[1:])
    return _counted(histogram, lambda: (kept,), shape, to_srgb, background)


def count_strips(
    strips: Strips,
    shape: tuple[int, int],  # of the photo: height and width
    device: torch.device,
    *,
    to_srgb: ToSrgb | None = None,
    background: tuple[int, int, int] | None = None,
) -> CountedPhoto:
    """Count a photo as `count_photo` does, keeping none of its pixels."""
    histogram = ColorHistogram(device)
    for strip in strips():
        histogram.add_rows(_without_opaque_alpha(_flat(strip), device))
    return _counted(histogram, strips, shape, to_srgb, background)


def _flat(
    pixels: Tensor,  # [h, W, 1], [h, W, 3], [h, W, 4] or [h, W]
) -> Tensor:  # [N, 3], [N, 4] or, of gray, [N]
    is_gray = pixels.ndim == 2 or pixels.shape[2] == 1
    return pixels.reshape(-1) if is_gray else pixels.reshape(-1, pixels.shape[2])


def _without_opaque_alpha(rows: Tensor, device: torch.device) -> Tensor:
    if rows.ndim == 2 and rows.shape[1] == 4:
        rows = rows.to(device)
        if bool((rows[:, 3] == OPAQUE).all()):
            rows = rows[:, :3]
    return rows


def _counted(
    histogram: ColorHistogram,  # of the stored colors
    strips: Strips,
    shape: tuple[int, int],
    to_srgb: ToSrgb | None,
    background: tuple[int, int, int] | None,
) -> CountedPhoto:
    stored, counts = histogram.colors, histogram.counts
    colors, place = stored, None
    if to_srgb or (stored.shape[1] == 4 and background):
        seen = stored.clone()
        if to_srgb:
            seen[:, :3] = torch.from_numpy(to_srgb(stored[:, :3].cpu().numpy())).to(stored.device)
        if seen.shape[1] == 4 and background:
            seen = laid_onto(seen, background)
        colors, counts, place = distinct_colors(seen, counts)
    return CountedPhoto(colors, counts, shape, strips, stored, place, to_srgb=to_srgb)

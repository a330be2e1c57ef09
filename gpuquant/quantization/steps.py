"""The steps of a recipe: count an image, find its palette or take a given one, map its pixels."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.counting.counted_photo import CountedPhoto, count_photo
from gpuquant.devices import memory_error_as_device_error
from gpuquant.dithering.methods import Dither, Tally, dither_strips
from gpuquant.fitting.coarse_to_fine import fit_palettes
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.nearest import nearest_entries
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.fitting.search import KMEANS_DEFAULTS, PaletteSearch, find_palette
from gpuquant.images.loading import ImageLike, load_photo
from gpuquant.images.reading import Photo
from gpuquant.palettes.palette import Palette, shares_of
from gpuquant.quantization.options import Options
from gpuquant.quantization.result import QuantizedImage
from gpuquant.tensors import as_numpy, shared_tensor
from gpuquant.threads import one_torch_thread

Progress = Callable[[str], None] | None
"""Called with the name of each stage as it begins: "read", "count", "cluster" and "map"."""


def count_image(
    image: ImageLike,
    device: torch.device,
    max_pixels: int,
    background: tuple[int, int, int] | None,
    keep_profile: bool,
    preview: bool = False,
    progress: Progress = None,
    turn: AbstractContextManager[Any] | None = None,  # to use the device
) -> CountedPhoto:
    """Read an image and, when it is its turn, count its colors, as they look."""
    seconds: dict[str, float] = {}
    with timed(seconds, "read", device, progress):
        loaded = load_photo(image, max_pixels, preview=preview)
        pixels = loaded.detach() if isinstance(loaded, Tensor) else shared_tensor(loaded.pixels)
        photo = Photo(np.empty((0, 0), np.uint8)) if isinstance(loaded, Tensor) else loaded
    kept, notes = photo.icc_profile if keep_profile else None, photo.notes
    if keep_profile and photo.other_profile:
        notes = (*notes, "only RGB profiles can be kept; converted to sRGB")
    with turn or nullcontext(), timed(seconds, "count", device, progress):
        to_srgb = None if kept else photo.to_srgb
        counted = count_photo(pixels, device, to_srgb=to_srgb, background=background)
    return replace(counted, icc_profile=kept, notes=notes, seconds=seconds, progress=progress)


def fit_colors(photo: CountedPhoto, search: PaletteSearch, **settings: Any) -> PaletteFit:
    """Find the palette of a photo; the settings are those of `find_palette`."""
    with timed(photo.seconds, "cluster", photo.device, photo.progress):
        return find_palette(photo.colors, photo.counts, search, n_pixels=math.prod(photo.shape), **settings)


def fit_together(photos: list[CountedPhoto], search: PaletteSearch) -> list[PaletteFit]:
    """Find the palettes of opaque photos on one device at the same time; the search is a plain one."""
    assert search.n_colors is not None
    problems = [PaletteProblem(photo.colors, photo.counts) for photo in photos]
    settings = KMEANS_DEFAULTS | {"random_state": search.random_state, "effort": search.effort}
    with memory_error_as_device_error():
        return fit_palettes(problems, search.n_colors, **settings)


def fit_to_palette(photo: CountedPhoto, palette: Palette, chunk_size: int | None = None) -> PaletteFit:
    """Find the nearest entry of a palette for each color of a photo."""
    with timed(photo.seconds, "cluster", photo.device, photo.progress):
        entries = torch.from_numpy(palette.rows.copy()).to(photo.device)
        return nearest_entries(photo.colors, photo.counts, entries, chunk_size)


def palette_of(
    colors: Tensor,  # [M, 3] uint8 in Z-order, or [M, 4] with alpha: distinct
    counts: Tensor,  # [M] int64
    search: PaletteSearch,
    chunk_size: int | None = None,
) -> Palette:
    """The palette of counted colors, the most common entry first."""
    with memory_error_as_device_error():
        fit = find_palette(colors, counts, search, chunk_size=chunk_size)
    order, _ = order_of(fit.counts, in_order=False)
    return ordered_palette(as_numpy(fit.palette[order]), as_numpy(fit.counts[order]))


def map_image(
    image: ImageLike,
    photo: CountedPhoto,  # the image, counted
    fit: PaletteFit,
    *,
    in_order: bool = False,
    dither: Dither | None = None,
    options: Options | None = None,
) -> QuantizedImage:
    """Look up every pixel, or dither; entries come the most common first, or in their order."""
    device = photo.device
    with timed(photo.seconds, "map", device, photo.progress):
        if dither:
            tally = Tally(len(fit.palette), device)
            labels = _joined(dither_strips(photo, fit.palette, fit.labels, dither, tally))
            counts, error = tally.counts.cpu(), tally.error
            order, places = order_of(counts, in_order=in_order)
            if not in_order:
                ops.renumber(labels, places.to(device, non_blocking=True))
        else:
            order, places = order_of(fit.counts, in_order=in_order)
            counts, error = fit.counts, fit.error
            labels = _joined(photo.label_strips(color_labels(fit, places), label_dtype(order)))
        if labels.is_cuda and not (isinstance(image, Tensor) and image.is_cuda):
            labels = ops.download(labels)
        entries, counts = fit.palette[order], counts[order]
        found: list[Any] = [entries, labels, counts, shares_of(counts)]
        found = [_as_image(output, image) for output in found]
        palette = _palette(found[0], found[3])  # the check of its shares waits until a device has done all
    return QuantizedImage(
        palette=palette,
        labels=found[1],
        counts=found[2],
        mse=error / labels.numel(),
        inertia=fit.inertia,
        n_iter=fit.n_iter,
        converged=fit.converged,
        seconds=photo.seconds,
        icc_profile=photo.icc_profile,
        options=options,
    )


def color_labels(
    fit: PaletteFit,
    places: Tensor,  # [K] int64, on the host: the place of each entry
) -> Tensor:  # [M] uint8, or int32 above 256 entries
    """The places of the entries of a photo's colors."""
    kind = torch.uint8 if len(places) <= 256 else torch.int32
    return places.to(kind).to(fit.labels.device, non_blocking=True).index_select(0, fit.labels)


def order_of(
    counts: Tensor,  # [K] int64, on the host
    *,
    in_order: bool,
) -> tuple[Tensor, Tensor]:  # [K] int64, both
    """The entries from the most common one, or as they are; and the place of each."""
    order = torch.arange(len(counts))
    if not in_order:
        order = counts.argsort(descending=True, stable=True)
    return order, order.argsort()


def label_dtype(entries: Sized) -> torch.dtype:
    """The type of labels for so many entries."""
    return torch.uint16 if len(entries) > 256 else torch.uint8


def ordered_palette(
    entries: Any,  # [K, 3] or [K, 4] uint8, array or tensor
    counts: Any,  # [K]
) -> Palette:
    """A palette with the shares of its entries."""
    return _palette(entries, shares_of(counts))


def _palette(entries: Any, shares: Any) -> Palette:
    if entries.shape[1] == 3:
        return Palette(entries, None, shares)
    return Palette(entries[:, :3], entries[:, 3], shares)


def _as_image(values: Tensor, image: ImageLike) -> npt.NDArray[Any] | Tensor:
    """The values as a tensor where the image is one, there where it is, or else as an array."""
    return values.to(image.device, non_blocking=not values.is_cuda) if isinstance(image, Tensor) else as_numpy(values)


def _joined(strips: Iterable[Tensor]) -> Tensor:
    parts = list(strips)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@contextmanager
def timed(seconds: dict[str, float], stage: str, device: torch.device, progress: Progress) -> Iterator[None]:
    """Take down the wall time of a stage, in which torch works as it is to.

    Each stage ends with what the host waits for: a device has little left to do then, which the next stage waits for.
    """
    if progress:
        progress(stage)
    start = time.perf_counter()
    with memory_error_as_device_error(), one_torch_thread() if device.type == "cpu" else nullcontext():
        yield
    seconds[stage] = time.perf_counter() - start

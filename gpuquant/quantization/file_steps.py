"""The steps of a photo that goes from file to file: counted strip by strip, looked up and written strip by strip."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.error import psnr
from gpuquant.counting.counted_photo import CountedPhoto, count_strips
from gpuquant.dithering.methods import Dither, Tally, dither_strips
from gpuquant.errors import ArgumentError, size_in_words
from gpuquant.fitting.fit import PaletteFit
from gpuquant.images.arrays import rows_as_image
from gpuquant.images.label_file import LabelFile
from gpuquant.images.loading import ImageLike
from gpuquant.images.packing import Labels
from gpuquant.images.registry import endings_for_all
from gpuquant.images.sinks import open_sink, sink_memory
from gpuquant.images.sources import ImageSource, Source, is_source
from gpuquant.images.strips import StripPhoto, open_strips
from gpuquant.images.targets import ImageTarget
from gpuquant.images.writing import check_format, name_of
from gpuquant.locations import temporary_folder
from gpuquant.memory import OF_PIXEL, default_budget, engine_memory, free_memory, parse_memory, strip_rows
from gpuquant.palettes.palette import Palette, shares_of
from gpuquant.quantization.options import Options, options_text
from gpuquant.quantization.steps import color_labels, count_image, label_dtype, order_of, ordered_palette, timed
from gpuquant.tensors import as_numpy, shared_tensor
from gpuquant.threads import worker_threads

FileProgress = Callable[[str, float], None]
"""Called with the name of a stage and the share of it that is done, from 0 to 1: "read", "count", "cluster", "map", and
"write" where dithered labels wait until the order of their entries is known. A photo that is turned by way of a file is
"read" after "count" has begun."""
PaletteFound = Callable[[Palette], None]
LEAST_FOR_PIXELS = 64 << 20  # bytes, however little is allowed: strips of some megapixels
LEAST_FOR_RESULT = 128 << 20  # bytes: a PNG or TIFF takes no more, unless its rows have millions of pixels


@dataclass(frozen=True, eq=False)
class FileResult:
    """The result of a photo that went from file to file; `QuantizedImage` describes what they share.

    Attributes
    ----------
    width, height : int
    palette : Palette
    counts : array, int64 [K]
    mse, inertia, n_iter, converged
        As of `QuantizedImage`.
    seconds : dict of str to float
        Wall time of each stage: "read" (what is read before the first strip: of a small photo, or of one that cannot be
        decoded in strips, all), "count" (with decoding), "cluster", "map" (with decoding again, and writing).
    warnings : tuple of str
        What was lost in reading.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/photo.npy", np.array([[10, 10, 10, 14, 200]], np.uint8))
    ...     result = gpuquant.quantize_file(f"{folder}/photo.npy", f"{folder}/two.png", 2)
    >>> result.shares.tolist(), result.mse, round(result.psnr, 2), result.width
    ([0.8, 0.2], 7.2, 44.33, 5)
    """

    width: int
    height: int
    palette: Palette
    counts: npt.NDArray[np.int64]
    mse: float
    inertia: float
    n_iter: int
    converged: bool
    seconds: dict[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The entries' shares of the pixels, float64 [K], adding up to 1."""
        return as_numpy(shares_of(self.counts))

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, as of `QuantizedImage`."""
        return psnr(self.mse, n_channels=3 if self.palette.alpha is None else 4)


@dataclass(frozen=True)
class Budget:
    """Bytes that a photo may take."""

    n_bytes: int
    as_floats: bool  # whether colors are worked on as floating-point numbers
    most_whole: int = 0  # bytes of a photo that cannot be decoded in strips, if they may be more
    at_once: bool = False  # whether it is decoded before it is counted, where its pixels are kept

    @property
    def for_pixels(self) -> int:
        """The bytes left beside those that counting and searching take."""
        return max(self.n_bytes - engine_memory(worker_threads(), as_floats=self.as_floats), LEAST_FOR_PIXELS)

    @property
    def kept(self) -> int:
        """Pixels or labels that stay in memory."""
        return self.for_pixels // 2

    @property
    def whole(self) -> int:
        """A photo that cannot be decoded in strips, or what a decoder holds."""
        return max(self.for_pixels, self.most_whole)

    @property
    def written(self) -> int:
        """Bytes of a result that are held while it is written."""
        return max(self.kept, self.most_whole, LEAST_FOR_RESULT)

    def rows(self, width: int) -> int:
        """Rows of a strip."""
        return strip_rows(self.for_pixels // 4, width, OF_PIXEL)


def budget_of(memory: int | str | None, *, as_floats: bool) -> Budget:
    """The budget of one photo, of which nobody may have said how much it is.

    Then a photo that cannot be decoded in strips may take half of what is free: it is that or an error.
    """
    if memory is None:
        return Budget(default_budget(), as_floats, (free_memory() or 0) // 2)
    return Budget(parse_memory(memory), as_floats)


def check_result(
    target: ImageTarget,
    n_entries: int,
    size: tuple[int, int],  # width and height
    budget: Budget,
    image_format: str | None = None,
    profile: bytes | None = None,
) -> None:
    """Raise unless the format can hold such a result, and memory what is held of it while it is written."""
    kind = check_format(target, n_entries, image_format=image_format, size=size, profile=profile)
    held = sink_memory(kind, size, n_entries)
    if held > budget.written:
        takes = f"a {kind} of {size[0]} x {size[1]} pixels takes {size_in_words(held)} of memory while it is written"
        more = f"more than the {size_in_words(budget.written)} that it may take"
        another = f"write {endings_for_all()}, or " if kind == "GIF" else ""
        raise ArgumentError(f"{name_of(target)}: {takes}, {more}; {another}give more with memory (--memory)")


@contextmanager
def open_file(
    source: ImageSource | Source,
    budget: Budget,
    seconds: dict[str, float],
    *,
    max_pixels: int,
    preview: bool,
    folder: str | Path | None = None,  # of temporary files
    once: bool = False,  # for one pass in which the order does not matter
    progress: FileProgress | None = None,
) -> Iterator[StripPhoto]:
    """A photo whose strips can be read, by that budget."""
    if progress:
        progress("read", 0.0)
    start = time.perf_counter()
    opened = open_strips(
        source,
        budget=budget.kept,
        whole=budget.whole,
        max_pixels=max_pixels,
        preview=preview,
        folder=folder,
        once=once,
        turned=None if progress is None else partial(progress, "read"),
    )
    with opened as photo:
        seconds["read"] = time.perf_counter() - start
        yield photo


def count_file(
    photo: StripPhoto,
    device: torch.device,
    budget: Budget,
    seconds: dict[str, float],
    *,
    background: tuple[int, int, int] | None,
    keep_profile: bool,
    progress: FileProgress | None = None,
) -> CountedPhoto:
    """Count the colors of a photo strip by strip."""
    kept = photo.icc_profile if keep_profile else None
    stage, passes = _Stage(photo.shape[0], progress), count()

    def strips() -> Iterator[Tensor]:
        is_first, rows = next(passes) == 0, budget.rows(photo.shape[1])
        for pixels in photo.strips(photo.shape[0] if is_first and budget.at_once else rows):
            yield shared_tensor(pixels)
            stage.add(len(pixels))

    stage.begin("count")
    with timed(seconds, "count", device, None):
        to_srgb = None if kept else photo.to_srgb
        counted = count_strips(strips, photo.shape, device, to_srgb=to_srgb, background=background)
    notes = photo.notes
    if keep_profile and photo.other_profile:
        notes = (*notes, "only RGB profiles can be kept; converted to sRGB")
    return replace(counted, icc_profile=kept, notes=notes, seconds=seconds, progress=stage.begin)


def count_once(
    image: ImageLike,
    device: torch.device,
    budget: Budget,
    *,
    max_pixels: int,
    preview: bool,
    background: tuple[int, int, int] | None,
    progress: FileProgress | None = None,
) -> CountedPhoto:
    """Count the colors of an image whose pixels are not needed again; a file's strip by strip."""
    if not is_source(image):
        begin = None if progress is None else lambda stage: progress(stage, 0.0)
        return count_image(rows_as_image(image), device, max_pixels, background, False, preview, begin)
    seconds: dict[str, float] = {}
    opened = open_file(image, budget, seconds, max_pixels=max_pixels, preview=preview, once=True, progress=progress)
    with opened as photo:
        return count_file(photo, device, budget, seconds, background=background, keep_profile=False, progress=progress)


def map_to_file(
    photo: CountedPhoto,
    fit: PaletteFit,
    target: ImageTarget,
    budget: Budget,
    *,
    in_order: bool,
    dither: Dither | None,
    options: Options,
    image_format: str | None = None,
    compression: int | None = None,
    found: PaletteFound | None = None,  # is called with a palette that is not given before anything is written
    seen: Callable[[Labels], None] | None = None,  # is called with the labels of each strip, as they are written
    progress: FileProgress | None = None,
) -> FileResult:
    """Look up every pixel, or dither, and write the labels; entries come the most common first, or in their order."""

    def tell(counts: Tensor) -> None:
        if found:
            found(ordered_palette(rows[as_numpy(order)], as_numpy(counts)[as_numpy(order)]))

    def put(strip: Labels, write: Callable[[Labels], None]) -> None:
        write(strip)
        if seen:
            seen(strip)

    size = photo.shape[1], photo.shape[0]
    rows = as_numpy(fit.palette)
    sink = partial(
        open_sink,
        target,
        size,
        image_format=image_format,
        profile=photo.icc_profile,
        note=options_text(options),
        compression=compression,
    )
    tally = Tally(len(rows), photo.device)
    with timed(photo.seconds, "map", photo.device, photo.progress):
        if dither and not in_order:
            n_bytes = size[0] * size[1] * label_dtype(rows).itemsize
            with closing(LabelFile(temporary_folder(target), n_bytes, budget.kept)) as waiting:
                for labels in dither_strips(photo, fit.palette, fit.labels, dither, tally):
                    waiting.add(as_numpy(labels))
                order, places = order_of(tally.counts.cpu(), in_order=False)
                writing = _Stage(photo.shape[0], progress)
                writing.begin("write")
                with sink(rows[as_numpy(order)]) as write:
                    tell(tally.counts)
                    for strip in waiting.strips():
                        ops.renumber(torch.from_numpy(strip), places)
                        put(strip, write)
                        writing.add(len(strip))
        else:
            order, places = order_of(fit.counts, in_order=in_order)
            if dither:
                strips = dither_strips(photo, fit.palette, fit.labels, dither, tally)
            else:
                tally.counts, tally.error = fit.counts, fit.error
                strips = photo.label_strips(color_labels(fit, places), label_dtype(rows))
            with sink(rows[as_numpy(order)]) as write:
                if not dither:
                    tell(fit.counts)
                for labels in strips:
                    put(as_numpy(labels), write)
    counts = as_numpy(tally.counts)[as_numpy(order)]
    return FileResult(
        *size,
        palette=ordered_palette(rows[as_numpy(order)], counts),
        counts=counts,
        mse=tally.error / (size[0] * size[1]),
        inertia=fit.inertia,
        n_iter=fit.n_iter,
        converged=fit.converged,
        seconds=photo.seconds,
        warnings=photo.notes,
    )


class _Stage:
    """Tells how much of the stage that began last is done."""

    def __init__(self, n_rows: int, progress: FileProgress | None) -> None:
        self._n_rows, self._tell = n_rows, progress or (lambda stage, share: None)
        self._name, self._n_done = "", 0

    def begin(self, name: str) -> None:
        self._name, self._n_done = name, 0
        self._tell(name, 0.0)

    def add(self, n_rows: int) -> None:
        self._n_done += n_rows
        self._tell(self._name, self._n_done / self._n_rows)

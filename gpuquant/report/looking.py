"""Records of results that are there already, found in their files: thumbnails, palette, sizes, settings."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpuquant.counting.counted_photo import CountedPhoto, count_strips
from gpuquant.errors import GpuquantError, ImageFileError
from gpuquant.images.note import read_options
from gpuquant.images.room import NoRoomError
from gpuquant.images.sources import Source
from gpuquant.images.strips import StripPhoto, open_strips, photo_size
from gpuquant.locations import Place, size_of, temporary_folder
from gpuquant.memory import LEAST, free_memory
from gpuquant.palettes.palette import Palette
from gpuquant.report.folder import UNKEPT, ReportFolder
from gpuquant.report.record import MOST_COLORS, PhotoRecord
from gpuquant.report.thumbnails import MadeThumbnails, Picture, Samples, thumbnail
from gpuquant.tensors import as_numpy, shared_tensor
from gpuquant.threads import hold_helper

KEPT = LEAST // 4  # bytes of a photo that is turned in memory: larger ones go through a temporary file
USUAL = {  # settings that go without saying
    "color_space": "srgb",
    "weighting": 1.0,
    "effort": "default",
    "random_state": 0,
    "init": "k-means++",
    "n_init": 1,
    "max_iter": 300,
    "tol": 1e-4,
    "dither_strength": 1.0,
}
VERSION, DIGEST = "gpuquant", ", sha256 "  # as options have them: the key of the version, and what follows a palette
MOST_SETTINGS = 400  # letters of them: a file may say anything
FILLED_IN = ("width", "height", "n_colors", "mse", "psnr", "bytes_in", "bytes_out", "seconds", "warnings")


def looked_at(
    files: ReportFolder,
    name: str,
    source: Place | None,  # where it may have been
    target: Place,
    kept: PhotoRecord | ImageFileError | None,  # or why nobody knows
    logged: PhotoRecord | None,  # a log's words about the result
    *,
    n_jobs: int,  # how many work at a time
    max_pixels: int,
) -> PhotoRecord:
    """The record of a result: the one that was kept, or one that is made of the files and is kept from now on.

    Where nobody knows of one that was kept none is made, which would have less than that, and take its place.
    """
    hold_helper()
    n_bytes = size_of(target)
    said = logged if logged is not None and logged.bytes_out in (None, n_bytes) else None  # or it is about another one
    if isinstance(kept, ImageFileError):
        record = filled_in(PhotoRecord(name, target=files.place_of(target), bytes_out=n_bytes), said)
        return warned(record, f"what was noted of it is not shown: {kept}")
    if kept is not None and (kept.before or not _is_file(source)):
        return filled_in(kept, said)
    record = kept or PhotoRecord(name)
    seen = partial(_seen, n_jobs=n_jobs, max_pixels=max_pixels, folder=temporary_folder(target))
    try:
        opened = Source(target)
        if kept is None:
            size = photo_size(opened, sys.maxsize)
            record = replace(record, width=size[0], height=size[1], bytes_out=n_bytes, settings=settings_of(target))
        after, counted = seen(opened, count=True)
    except NoRoomError as error:
        record = filled_in(replace(record, target=files.place_of(target)), said)
        return warned(record, f"it has no pictures here: {error}")
    except GpuquantError as error:
        return PhotoRecord(name, target=files.place_of(target), error=f"the result cannot be read: {error}")
    before = None
    if source is not None and _is_file(source):
        record = replace(record, bytes_in=size_of(source))
        with suppress(GpuquantError):  # then there is no picture of before, which is seen
            before, _ = seen(Source(source), count=False)
    if kept is not None and before is None:
        return filled_in(kept, said)
    pictures = MadeThumbnails(before, after)
    if kept is None:
        assert counted is not None
        record = replace(record, **_colors_of(counted))
    record = filled_in(replace(record, ssim=pictures.ssim), said)
    try:
        return files.keep(record, source, target, pictures.encoded())
    except ImageFileError as error:
        return warned(replace(record, target=files.place_of(target)), f"{UNKEPT}: {error}")


def warned(record: PhotoRecord, warning: str) -> PhotoRecord:
    """A record with one more warning."""
    return replace(record, warnings=(*record.warnings, warning))


def filled_in(record: PhotoRecord, said: PhotoRecord | None) -> PhotoRecord:
    """A record with what it lacks from another one."""
    if said is None:
        return record
    lacking = [name for name in FILLED_IN if not getattr(record, name) and getattr(record, name) != 0]
    return replace(record, **{name: getattr(said, name) for name in lacking})


def settings_of(target: Place) -> str | None:
    """The settings that a result says it was made with, but for usual ones."""
    options = read_options(target)
    return None if options is None else settings_in_words(options)


def settings_in_words(options: dict[str, object]) -> str:
    """Settings in a line, such as "16 colors, dither blue-noise"."""
    said = []
    for name, value in options.items():
        if name != VERSION and value not in (None, False, "none", USUAL.get(name)):
            words = str(value).partition(DIGEST)[0]
            said.append(name if value is True else f"{words} colors" if name == "n_colors" else f"{name} {words}")
            if name == "palette" and words in said[:-1]:  # a shared one, which has as many colors as were asked for
                said.pop()
    return ", ".join(said).replace("_", " ")[:MOST_SETTINGS]


def palette_fields(palette: Palette) -> dict[str, Any]:
    """The fields of a record about a palette whose shares are known."""
    assert palette.shares is not None
    shares = as_numpy(palette.shares)
    order = (-shares).argsort(kind="stable")[:MOST_COLORS]
    colors = Palette(as_numpy(palette.colors)[order], None if palette.alpha is None else as_numpy(palette.alpha)[order])
    return {"n_colors": len(palette), "colors": colors.hex, "shares": tuple(shares[order].tolist())}


def _is_file(source: Place | None) -> bool:
    """True of a photo that is there; also False where a URL that a log tells, without credentials, does not answer."""
    with suppress(GpuquantError):
        return source is not None and source.is_file()
    return False


def _seen(
    source: Source, *, count: bool, n_jobs: int, max_pixels: int, folder: Path
) -> tuple[Picture, CountedPhoto | None]:
    """The thumbnail of a picture, and its colors if they are to be counted."""
    whole = max(KEPT, (free_memory() or 0) // (2 * n_jobs))
    opened = open_strips(source, budget=KEPT, whole=whole, max_pixels=max_pixels, preview=True, folder=folder)
    with opened as photo:
        samples, counted = Samples(photo.shape), None
        if count:
            strips = partial(_strips, photo, samples)
            counted = count_strips(strips, photo.shape, torch.device("cpu"), to_srgb=photo.to_srgb)
        else:
            for _ in _strips(photo, samples):
                pass
        return thumbnail(samples.values, to_srgb=photo.to_srgb), counted


def _strips(photo: StripPhoto, samples: Samples) -> Iterator[Tensor]:
    for strip in photo.strips():
        samples.add(strip)
        yield shared_tensor(strip)


def _colors_of(counted: CountedPhoto) -> dict[str, Any]:
    rows, counts = as_numpy(counted.colors), as_numpy(counted.counts)
    alpha = rows[:, 3] if rows.shape[1] == 4 else None
    return palette_fields(Palette(rows[:, :3], alpha, counts / counts.sum()))

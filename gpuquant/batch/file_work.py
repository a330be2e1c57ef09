"""The work on one file of a batch: to count it, or to quantize it, when there is room in memory and on the device."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gpuquant.batch.outcome import FileOutcome, reason_of
from gpuquant.batch.page import with_kept_record
from gpuquant.batch.plan import PlannedFile, check_inside
from gpuquant.batch.shares import Shares
from gpuquant.batch.workers import SharedBudget, Together
from gpuquant.counting.counted_photo import CountedPhoto
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.dithering.methods import Dither
from gpuquant.errors import ImageFileError
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.search import PaletteSearch
from gpuquant.images.sources import Source
from gpuquant.images.strips import photo_size
from gpuquant.locations import Place, is_there, make_folder, size_of, temporary_folder
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.file_steps import (
    FileResult,
    check_result,
    count_file,
    count_once,
    map_to_file,
    open_file,
)
from gpuquant.quantization.options import Options
from gpuquant.quantization.result import QuantizedImage
from gpuquant.quantization.steps import count_image, fit_colors, fit_to_palette, fit_together, map_image
from gpuquant.report.thumbnails import Convert, Thumbnails


@dataclass(frozen=True, eq=False)
class Settings:
    """Settings that hold for every file."""

    search: PaletteSearch
    max_pixels: int
    preview: bool
    background: tuple[int, int, int] | None
    keep_profile: bool
    compression: int | None
    dither: Dither | None
    options: Options  # for the results, without a palette that is shared
    output: Place | None
    existing: str  # what to do about results that are there
    report: Place | None = None  # the folder of the page, if there is to be one


@dataclass(frozen=True, eq=False)
class OpenPhoto:
    """A file for which there is room in memory."""

    source: Source  # of a file at a URL it is a copy
    n_pixels: int
    seconds: float  # until it was there


class FileWork:
    """The steps of a recipe on one file, from the threads of a batch."""

    def __init__(self, settings: Settings, devices: list[torch.device], shares: Shares, n_threads: int) -> None:
        self._settings, self._devices, self._n_threads = settings, devices, n_threads
        self._shares, self._in_flight = shares, SharedBudget(shares.all)
        self._turns = [nullcontext() if one.type == "cpu" else threading.Lock() for one in devices]
        self._together = [Together(partial(fit_together, search=settings.search), turn) for turn in self._turns]

    def count(self, file: PlannedFile, number: int, total: ColorHistogram) -> FileOutcome | None:
        """Add the colors of a file to all others, in the thread of this number; the outcome if that fails."""
        return self._guarded(self._count, file, number % len(self._devices), total)

    def write(
        self,
        file: PlannedFile,
        number: int,
        palette: Palette | None,
        options: Options,
        *,
        is_stopped: Callable[[], bool] = lambda: False,
        is_again: bool = False,
    ) -> FileOutcome | None:
        """Write the result of a file, in the thread of this number; None if the job was stopped before there was room.

        Where a file is worked on again its result may be there, although none is to be replaced.
        """
        place = number % len(self._devices)
        return self._guarded(self._write, file, place, palette, options, is_stopped, is_again)

    def _guarded(
        self, work: Callable[..., FileOutcome | None], file: PlannedFile, place: int, *given: Any
    ) -> FileOutcome | None:
        """Work on a file; an error is an outcome."""
        if file.error is not None:
            return FileOutcome(file.source, file.target, "failed", error=file.error)
        torch.set_num_threads(self._n_threads)
        try:
            return work(file, place, *given)
        except Exception as error:
            return FileOutcome(file.source, file.target, "failed", error=reason_of(error, file.source))

    def _count(self, file: PlannedFile, place: int, total: ColorHistogram) -> None:
        settings = self._settings
        with self._room(file) as opened, self._turns[place]:
            photo = count_once(
                opened.source,
                self._devices[place],
                self._shares.budget(opened.n_pixels),
                max_pixels=settings.max_pixels,
                preview=settings.preview,
                background=settings.background,
            )
        total.add_counted(photo.colors, photo.counts)

    def _write(
        self,
        file: PlannedFile,
        place: int,
        palette: Palette | None,
        options: Options,
        is_stopped: Callable[[], bool],
        is_again: bool,
    ) -> FileOutcome | None:
        if self._settings.existing == "refuse" and not is_again and is_there(file.target):
            raise ImageFileError(f"{file.target} exists")
        if self._settings.output:
            check_inside(file.target, self._settings.output)
        with self._room(file) as opened:
            if is_stopped():
                return None
            make_folder(file.target.parent)
            return self._quantize(file, opened, place, palette, options)

    @contextmanager
    def _room(self, file: PlannedFile) -> Iterator[OpenPhoto]:
        """Open a file, and wait for room in memory."""
        start = time.perf_counter()
        source = Source(file.source)
        seconds = time.perf_counter() - start
        width, height = photo_size(source, self._settings.max_pixels)
        check_result(file.target, 1, (width, height), self._shares.budget(width * height))
        with self._in_flight.of(self._shares.of(width * height)):
            yield OpenPhoto(source, width * height, seconds)

    def _quantize(
        self, file: PlannedFile, opened: OpenPhoto, place: int, palette: Palette | None, options: Options
    ) -> FileOutcome:
        """Quantize a file for which there is room."""
        is_kept = self._shares.wanted_by(opened.n_pixels) <= self._shares.most
        if self._shares_launches(place) and is_kept:
            return self._on_device(file, opened, place, palette, options)
        return self._from_file_to_file(file, opened, place, palette, options)

    def _from_file_to_file(
        self, file: PlannedFile, opened: OpenPhoto, place: int, palette: Palette | None, options: Options
    ) -> FileOutcome:
        """Quantize a photo strip by strip."""
        settings, seconds = self._settings, dict[str, float]()
        budget = self._shares.budget(opened.n_pixels)
        strips = open_file(
            opened.source,
            budget,
            seconds,
            max_pixels=settings.max_pixels,
            preview=settings.preview,
            folder=temporary_folder(file.target),
        )
        with strips as photo:
            kept = photo.icc_profile if settings.keep_profile else None
            check_result(file.target, 1, photo.shape[::-1], budget, profile=kept)
            seen = None
            if settings.report:
                seen = self._thumbnails(photo.shape, None if kept else photo.to_srgb, kept)
                photo = replace(photo, read=seen.pixels.watch(photo.read))
            with self._turns[place]:
                counted = count_file(
                    photo,
                    self._devices[place],
                    budget,
                    seconds,
                    background=settings.background,
                    keep_profile=settings.keep_profile,
                )
            fit = self._fit(counted, place, palette)
            with self._turns[place]:
                result = map_to_file(
                    counted,
                    fit,
                    file.target,
                    budget,
                    in_order=palette is not None,
                    dither=settings.dither,
                    options=options,
                    compression=settings.compression,
                    seen=seen.labels.add if seen else None,
                )
        outcome = _outcome(file, opened, result, (result.width, result.height), result.seconds, result.warnings)
        return self._kept(outcome, result.palette, seen, options)

    def _on_device(
        self, file: PlannedFile, opened: OpenPhoto, place: int, palette: Palette | None, options: Options
    ) -> FileOutcome:
        """Quantize a photo that is held whole, and clustered together with others that wait for the device."""
        result, notes, seen = self._result(opened.source, place, palette, options)
        start = time.perf_counter()
        result.save(file.target, compression=self._settings.compression)
        seconds = result.seconds | {"write": time.perf_counter() - start}
        height, width = result.labels.shape
        if seen:
            seen.labels.add(result.labels)
        outcome = _outcome(file, opened, result, (width, height), seconds, notes)
        return self._kept(outcome, result.palette, seen, options)

    def _result(
        self, source: Source, place: int, palette: Palette | None, options: Options
    ) -> tuple[QuantizedImage, tuple[str, ...], Thumbnails | None]:  # which keep no pixels while they are written
        settings = self._settings
        photo = count_image(
            source,
            self._devices[place],
            settings.max_pixels,
            settings.background,
            settings.keep_profile,
            preview=settings.preview,
            turn=self._turns[place],
        )
        fit = self._fit(photo, place, palette)
        with self._turns[place]:
            in_order, dither = palette is not None, settings.dither
            found = map_image(source, photo, fit, in_order=in_order, dither=dither, options=options)
            seen = None
            if settings.report:
                seen = self._thumbnails(photo.shape, photo.to_srgb, photo.icc_profile)
                for strip in photo.strips():
                    seen.pixels.add(strip)
            return found, photo.notes, seen

    def _fit(self, photo: CountedPhoto, place: int, palette: Palette | None) -> PaletteFit:
        """Find a palette of the photo, or the nearest entries of one for all."""
        if palette is not None:
            with self._turns[place]:
                return fit_to_palette(photo, palette)
        if photo.has_alpha or not self._settings.search.is_plain or not self._shares_launches(place):
            with self._turns[place]:
                return fit_colors(photo, self._settings.search)
        start = time.perf_counter()
        fit = self._together[place](photo)
        photo.seconds["cluster"] = time.perf_counter() - start
        return fit

    def _thumbnails(self, shape: tuple[int, int], to_srgb: Convert | None, profile: bytes | None) -> Thumbnails:
        return Thumbnails(shape, to_srgb=to_srgb, profile=profile, background=self._settings.background)

    def _kept(self, outcome: FileOutcome, palette: Palette, seen: Thumbnails | None, options: Options) -> FileOutcome:
        if seen is None or self._settings.report is None:
            return outcome
        return with_kept_record(outcome, self._settings.report, palette, seen, options)

    def _shares_launches(self, place: int) -> bool:
        return self._devices[place].type == "cuda"


def _outcome(
    file: PlannedFile,
    opened: OpenPhoto,
    result: QuantizedImage | FileResult,
    size: tuple[int, ...],  # width and height
    seconds: dict[str, float],
    notes: tuple[str, ...],
) -> FileOutcome:
    return FileOutcome(
        file.source,
        file.target,
        "written",
        width=size[0],
        height=size[1],
        n_colors=len(result.palette),
        mse=result.mse,
        psnr=result.psnr,
        bytes_in=opened.source.n_bytes(),
        bytes_out=size_of(file.target),
        seconds=seconds | {"read": seconds["read"] + opened.seconds},
        warnings=notes,
    )

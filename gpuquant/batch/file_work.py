"""The work on one file of a batch: to count it, or to quantize it, when there is room in memory and on the device."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gpuquant.batch.outcome import FileOutcome
from gpuquant.batch.plan import PlannedFile
from gpuquant.batch.shares import Shares
from gpuquant.batch.workers import SharedBudget, Together
from gpuquant.counting.counted_photo import CountedPhoto
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.dithering.methods import Dither
from gpuquant.fitting.fit import PaletteFit
from gpuquant.fitting.search import PaletteSearch
from gpuquant.images.strips import photo_size
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.file_steps import (
    Budget,
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


class FileWork:
    """The steps of a recipe on one file, from the threads of a batch."""

    def __init__(self, settings: Settings, devices: list[torch.device], shares: Shares) -> None:
        self._settings, self._devices = settings, devices
        self._shares, self._in_flight = shares, SharedBudget(shares.all)
        self._turns = [nullcontext() if one.type == "cpu" else threading.Lock() for one in devices]
        self._together = [Together(partial(fit_together, search=settings.search), turn) for turn in self._turns]

    def count(self, file: PlannedFile, place: int, total: ColorHistogram) -> None:
        settings = self._settings
        with self.room(file) as n_pixels, self._turns[place]:
            photo = count_once(
                file.source,
                self._devices[place],
                self._shares.budget(n_pixels),
                max_pixels=settings.max_pixels,
                preview=settings.preview,
                background=settings.background,
            )
        total.add_counted(photo.colors, photo.counts)

    @contextmanager
    def room(self, file: PlannedFile) -> Iterator[int]:
        """Wait for room in memory; the number of pixels."""
        width, height = photo_size(file.source, self._settings.max_pixels)
        check_result(file.target, 1, (width, height), self._shares.budget(width * height))
        with self._in_flight.of(self._shares.of(width * height)):
            yield width * height

    def quantize(
        self, file: PlannedFile, n_pixels: int, place: int, palette: Palette | None, options: Options
    ) -> FileOutcome:
        """Quantize a file for which there is room."""
        is_kept = self._shares.wanted_by(n_pixels) <= self._shares.most
        if self._shares_launches(place) and is_kept:
            return self._on_device(file, place, palette, options)
        return self._from_file_to_file(file, self._shares.budget(n_pixels), place, palette, options)

    def _from_file_to_file(
        self, file: PlannedFile, budget: Budget, place: int, palette: Palette | None, options: Options
    ) -> FileOutcome:
        """Quantize a photo strip by strip."""
        settings, seconds = self._settings, dict[str, float]()
        opened = open_file(
            file.source,
            budget,
            seconds,
            max_pixels=settings.max_pixels,
            preview=settings.preview,
            folder=file.target.parent,
        )
        with opened as photo:
            kept = photo.icc_profile if settings.keep_profile else None
            check_result(file.target, 1, photo.shape[::-1], budget, profile=kept)
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
                )
        return _outcome(file, result, (result.width, result.height), result.seconds, result.warnings)

    def _on_device(self, file: PlannedFile, place: int, palette: Palette | None, options: Options) -> FileOutcome:
        """Quantize a photo that is held whole, and clustered together with others that wait for the device."""
        result, notes = self._result(file.source, place, palette, options)
        start = time.perf_counter()
        result.save(file.target, compression=self._settings.compression)
        seconds = result.seconds | {"write": time.perf_counter() - start}
        height, width = result.labels.shape
        return _outcome(file, result, (width, height), seconds, notes)

    def _result(
        self, source: Path, place: int, palette: Palette | None, options: Options
    ) -> tuple[QuantizedImage, tuple[str, ...]]:  # which keep no pixels while they are written
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
            return found, photo.notes

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

    def _shares_launches(self, place: int) -> bool:
        return self._devices[place].type == "cuda"


def _outcome(
    file: PlannedFile,
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
        bytes_in=file.source.stat().st_size,
        bytes_out=file.target.stat().st_size,
        seconds=seconds,
        warnings=notes,
    )

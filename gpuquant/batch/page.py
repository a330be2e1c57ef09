"""The page of a batch: what becomes of its photos is noted as they come, and the page is written at the end."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpuquant.batch.existing import results_of
from gpuquant.batch.outcome import FileOutcome
from gpuquant.batch.plan import PlannedFile
from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.locations import Place, common_folder, holds, identity_of, is_inside
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.options import Options
from gpuquant.report.folder import UNKEPT, ReportFolder
from gpuquant.report.log import read_log
from gpuquant.report.looking import palette_fields, settings_in_words
from gpuquant.report.page import write_page
from gpuquant.report.recipe import ResultPlace, records_of_results
from gpuquant.report.record import PhotoRecord
from gpuquant.report.thumbnails import Thumbnails


class BatchPage:
    """A context in which outcomes are added; at its end, however it comes, the page is written, of what there is."""

    def __init__(
        self,
        folder: Place | None,  # None: there is to be no page
        files: list[PlannedFile],
        log: Path | None,
        max_pixels: int,
        progress: Callable[[str], None],
        stopped: threading.Event,  # then results that nothing was noted of are left out: looking at them takes time
    ) -> None:
        self._folder, self._files, self._log, self._progress = folder, files, log, progress
        self._max_pixels, self._stopped = max_pixels, stopped
        self._errors: dict[Place, str | None] = {}  # by target: None where there is a result
        self.written: Place | None = None  # the page, when it is

    def __enter__(self) -> "BatchPage":
        return self

    def add(self, outcome: FileOutcome) -> None:
        """Note what became of a photo."""
        if self._folder is not None:
            self._errors[outcome.target] = outcome.error if outcome.status == "failed" else None

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._folder is None:
            return
        if kind is not None:
            self._stopped.set()
        with suppress(*([] if kind is None else [GpuquantError])):  # after an error that one is told
            self._progress("report")
            self._write(ReportFolder(self._folder))

    def _write(self, files: ReportFolder) -> None:
        """Write the page: what earlier runs did is known by what they left, or by the log."""
        has_log = self._log is not None and holds(self._log.is_file)
        logged = read_log(self._log).photos if self._log is not None and has_log else {}
        done = [file for file in self._files if file.target in self._errors]
        there = results_of([file for file in done if self._errors[file.target] is None])
        results = [
            ResultPlace(files.name_of(file.source, file.target), file.source, target) for file, target in there.items()
        ]
        failed = [
            PhotoRecord(files.name_of(file.source, file.target), source=files.place_of(file.source), error=error)
            for file in done
            if (error := self._errors[file.target]) is not None
        ]
        records = files.with_links_that_lead(failed) + records_of_results(
            files, results, logged, max_pixels=self._max_pixels, is_stopped=self._stopped.is_set
        )
        self.written = write_page(files, records, n_left=len(self._files) - len(records))
        if isinstance(self._folder, Path):  # at a URL each record of another batch would be asked for
            files.forget_gone(file.target for file in self._files)


def page_folder(output: Place | None, given: Sequence[Place], files: list[PlannedFile], log: Path | None) -> Place:
    """The folder of the page: that of the results, or the lowest one that holds all of them.

    Raises
    ------
    ArgumentError
        There is none that has results or lies in a given folder; or a page of someone else's, or a log in its place.
    ImageFileError
        A URL does not answer.
    """
    folder = output or _among_results({file.target.parent: None for file in files}, given)
    found = ReportFolder(folder)
    found.check_page()
    if log is not None and identity_of(log) == identity_of(found.page):
        raise ArgumentError(f"the log {log} is also the place of the report; name another file")
    return folder


def _among_results(folders: Iterable[Place], given: Sequence[Place]) -> Place:
    """The lowest folder that holds these, if something is written there anyway, or it lies in one that was given."""
    several = list(folders)
    common = common_folder(several)
    if common is None:  # on several drives, or in several stores
        raise ArgumentError("the results have no folder in common for the report; name one with output (--output)")
    top = identity_of(common)
    if top in map(identity_of, several) or any(is_inside(top, identity_of(one)) for one in given):
        return common
    reason = f"the report would lie in {common}, which is none of the folders given"
    raise ArgumentError(f"{reason}; name one for all results with output (--output)")


def with_kept_record(
    outcome: FileOutcome, folder: Place, palette: Palette, thumbnails: Thumbnails, options: Options
) -> FileOutcome:
    """Keep what the page will tell of a result; what cannot be kept is a warning."""
    made, files = thumbnails.made(palette.rows), ReportFolder(folder)
    record = PhotoRecord(
        files.name_of(outcome.source, outcome.target),
        width=outcome.width,
        height=outcome.height,
        mse=outcome.mse,
        psnr=None if outcome.mse == 0 else outcome.psnr,
        ssim=made.ssim,
        bytes_in=outcome.bytes_in,
        bytes_out=outcome.bytes_out,
        seconds=outcome.seconds,
        warnings=outcome.warnings,
        settings=settings_in_words(options),
        **palette_fields(palette),
    )
    try:
        files.keep(record, outcome.source, outcome.target, made.encoded())
    except ImageFileError as error:
        return replace(outcome, warnings=(*outcome.warnings, f"{UNKEPT}: {error}"))
    return outcome

"""Batch: the work on many files, in threads around one or more devices."""

import errno
import os
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpuquant.batch.file_work import FileWork, Settings
from gpuquant.batch.outcome import FileOutcome, OutcomeLog, reason_of
from gpuquant.batch.plan import Plan, PlannedFile, check_inside, holds
from gpuquant.batch.shares import Shares
from gpuquant.batch.workers import in_threads
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.files import read_palette, write_palette
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.options import palette_options
from gpuquant.quantization.steps import palette_of
from gpuquant.threads import n_cores

SHARED_PALETTE = "palette.hex"


class Batch:
    """Many files to quantize: an iterator that works on them and gives one `FileOutcome` each, as they finish.

    Attributes
    ----------
    files : list of PlannedFile
        Each file that is read, and where its result goes: `source` and `target`, paths.
    passed_over : dict of str to int
        How many other files the folders have, by their ending, in lower case with its dot, or "" for none.
    results_passed_over : int
        How many results of earlier runs the folders have, which are not read.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.eye(4, dtype=np.uint8)).save(f"{folder}/a.bmp")
    ...     batch = gpuquant.quantize_files(folder, f"{folder}/out", 2)
    ...     print(len(batch), batch.files[0].target.name, [outcome.status for outcome in batch])
    1 a.png ['written']
    """

    def __init__(
        self,
        plan: Plan,
        output: Path | None,
        settings: Settings,
        *,
        jobs: int,
        shares: Shares,
        devices: list[torch.device],
        existing: str,
        kept: set[PlannedFile],
        palette: Palette | None,
        shared_palette: bool,
        log: Path | None,
        counted: Callable[[Path], None] | None,
        progress: Callable[[str], None] | None,
    ) -> None:
        self.files, self.passed_over = plan.files, plan.passed_over
        self.results_passed_over = plan.results_passed_over
        self._output, self._settings, self._jobs, self._devices = output, settings, jobs, devices
        self._existing, self._kept, self._palette, self._shared = existing, kept, palette, shared_palette
        self._log_path, self._counted, self._progress = log, counted, progress or (lambda stage: None)
        self._options = settings.options
        self._stopped = threading.Event()
        self._running = self._logged()
        self._work = FileWork(settings, devices, shares)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"Batch({len(self)} file{'s' * (len(self) != 1)}; loop over it to work on them)"

    def stop(self) -> None:
        """Begin no more files: those in flight are finished, and the iteration ends.

        Examples
        --------
        >>> import gpuquant, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     batch = gpuquant.quantize_files(["a.jpg", "b.jpg"], folder)
        ...     batch.stop()
        ...     print(len(batch), list(batch))
        2 []
        """
        self._stopped.set()

    def close(self) -> None:
        """Begin no more files, and wait for those in flight, whose outcomes are lost.

        Examples
        --------
        >>> import gpuquant, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     batch = gpuquant.quantize_files(["missing.jpg", "missing.png"], folder, jobs=1)
        ...     outcome = next(batch)
        ...     batch.close()
        ...     print(outcome.status, list(batch))
        failed []
        """
        self._running.close()

    def __iter__(self) -> Iterator[FileOutcome]:
        return self

    def __next__(self) -> FileOutcome:
        return next(self._running)

    def _logged(self) -> Generator[FileOutcome, None, None]:
        n_threads = torch.get_num_threads()
        try:
            if self._output and self._log_path and self._log_path.resolve().is_relative_to(self._output.resolve()):
                _make_folder(self._log_path.parent)
            with OutcomeLog(self._log_path) as log:
                if self._output:
                    _make_folder(self._output)
                if self.passed_over or self.results_passed_over:
                    log.add_passed_over(self.passed_over, self.results_passed_over)
                for outcome in self._outcomes():
                    log.add(outcome)
                    yield outcome
        finally:
            torch.set_num_threads(n_threads)  # which torch also keeps for threads to come

    def _outcomes(self) -> Iterator[FileOutcome]:
        there, palette = self._kept, self._palette
        waiting = [file for file in self.files if file not in there]
        if self._shared and waiting:
            self._progress("count")
            total = ColorHistogram("cpu")
            failed: set[Path] = set()
            for file, outcome in self._in_threads(self.files, lambda file, place: self._work.count(file, place, total)):
                if outcome is not None:
                    failed.add(file.source)
                    yield outcome
                elif self._counted:
                    self._counted(file.source)
            if self._stopped.is_set() or not len(total):
                return
            self._progress("cluster")
            palette = palette_of(total.colors, total.counts, self._settings.search)
            self._options = self._options | palette_options(palette)
            there = {file for file in self._write_shared_palette(palette, there) if file.source not in failed}
            waiting = [file for file in self.files if file not in there and file.source not in failed]
        self._progress("write")
        for file in self.files:
            if file in there:
                yield FileOutcome(file.source, file.target, "skipped")
        for _, outcome in self._in_threads(waiting, lambda file, place: self._quantize(file, place, palette)):
            if outcome is not None:
                yield outcome

    def _write_shared_palette(self, palette: Palette, there: set[PlannedFile]) -> set[PlannedFile]:
        """Write the shared palette, unless results are to be kept that have another one; and the results that have it.

        Raises
        ------
        ArgumentError
            There are such results.
        """
        assert self._output is not None
        path = self._output / SHARED_PALETTE
        if there and (not path.is_file() or not np.array_equal(read_palette(path).rgba, palette.rgba)):
            if self._existing == "skip":
                other = f"the palette of all photos is not, or no longer, that of {path}, which results that exist have"
                ways_out = "write those anew with existing='update' (--skip-existing --force)"
                raise ArgumentError(f"{other}; {ways_out}, or apply theirs to the new photos, with palette=")
            there = set()
        check_inside(path, self._output)
        write_palette(palette, path)
        return there

    def _in_threads(
        self, files: list[PlannedFile], work: Callable[[PlannedFile, int], Any]
    ) -> Iterator[tuple[PlannedFile, Any]]:
        n_threads = max(1, n_cores() // self._jobs)

        def guarded(file: PlannedFile, worker: int) -> Any:
            torch.set_num_threads(n_threads)
            try:
                return work(file, worker % len(self._devices))
            except Exception as error:
                return FileOutcome(file.source, file.target, "failed", error=reason_of(error, file.source))

        return in_threads(files, guarded, self._jobs, self._stopped)

    def _quantize(self, file: PlannedFile, place: int, palette: Palette | None) -> FileOutcome | None:
        """Quantize a file; None where the job was stopped before there was room."""
        if self._existing == "refuse" and holds(file.target.exists):
            raise ImageFileError(f"{file.target} exists")
        if self._output:
            check_inside(file.target, self._output)
        with self._work.room(file) as n_pixels:
            if self._stopped.is_set():
                return None
            _make_folder(file.target.parent)
            return self._work.quantize(file, n_pixels, place, palette, self._options)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ImageFileError(f"{folder} cannot be written: {error.strerror or error}") from None

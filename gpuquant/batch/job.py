"""Batch: the work on many files: what is done, what is told of it, and the palette that they share."""

import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np

from gpuquant.batch.crew import Crew
from gpuquant.batch.file_work import Settings
from gpuquant.batch.folders import check_writable
from gpuquant.batch.outcome import FileOutcome, OutcomeLog, is_of_full_disk
from gpuquant.batch.page import BatchPage
from gpuquant.batch.plan import Plan, PlannedFile, check_inside
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import Place, holds, identity_of, is_inside, make_folder
from gpuquant.palettes.files import read_palette, write_palette
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.options import palette_options
from gpuquant.quantization.steps import palette_of

SHARED_PALETTE = "palette.hex"


class Batch:
    """Many files to quantize: an iterator that works on them and gives one `FileOutcome` each, as they finish.

    Attributes
    ----------
    files : list of PlannedFile
        Each file that is read, and where its result goes: `source` and `target`, paths or locations of URLs.
    passed_over : dict of str to int
        How many other files the folders have, by their ending, in lower case with its dot, or "" for none.
    results_passed_over : int
        How many results of earlier runs the folders have, which are not read.
    report : Path or Location, optional
        The page, when it is written: at the end.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.eye(4, dtype=np.uint8)).save(f"{folder}/a.bmp")
    ...     batch = gpuquant.quantize_files(folder, f"{folder}/out", 2, report=True)
    ...     print(len(batch), batch.files[0].target.name, [outcome.status for outcome in batch], batch.report.name)
    1 a.png ['written'] report.html
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        crew: Crew,
        *,
        kept: set[PlannedFile],
        palette: Palette | None,
        shared_palette: bool,
        log: Path | None,
        counted: Callable[[Place], None] | None,
        progress: Callable[[str], None] | None,
    ) -> None:
        self.files, self.passed_over = plan.files, plan.passed_over
        self.results_passed_over = plan.results_passed_over
        self._settings, self._crew = settings, crew
        self._output, self._existing = settings.output, settings.existing
        self._kept, self._palette, self._shared = kept, palette, shared_palette
        self._log_path, self._counted, self._progress = log, counted, progress or (lambda stage: None)
        self._stopped = threading.Event()
        self._page = BatchPage(settings.report, plan.files, log, settings.max_pixels, self._progress, self._stopped)
        self._running = self._logged()

    @property
    def report(self) -> Place | None:
        """The page, when it is written."""
        return self._page.written

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
        if self._log_path and self._output and is_inside(identity_of(self._log_path), identity_of(self._output)):
            make_folder(self._log_path.parent)
        with OutcomeLog(self._log_path) as log, self._page as page:
            check_writable(self._output, self.files)
            if self.passed_over or self.results_passed_over:
                log.add_passed_over(self.passed_over, self.results_passed_over)
            n_left, full = len(self.files), None
            for outcome in self._outcomes():
                n_left -= 1
                if is_of_full_disk(outcome):  # as those of all others would be, each after all its work
                    full = outcome.target.parent
                    self.stop()
                log.add(outcome)
                page.add(outcome)
                yield outcome
            if full and n_left:
                left = f"{n_left} photo{'s were' if n_left > 1 else ' was'} not begun"
                way_out = "make room there, and go on with existing='skip' (--skip-existing)"
                raise ImageFileError(f"{full} has no room left, and {left}; {way_out}")

    def _outcomes(self) -> Iterator[FileOutcome]:
        there, palette, options = self._kept, self._palette, self._settings.options
        waiting = [file for file in self.files if file not in there]
        with self._crew:
            if self._shared and waiting:
                self._progress("count")
                total = ColorHistogram("cpu")
                failed: set[Place] = set()
                for outcome in self._crew.count(self.files, total, self._tell_counted, self._stopped):
                    failed.add(outcome.source)
                    yield outcome
                if self._stopped.is_set() or not len(total):
                    return
                self._progress("cluster")
                palette = palette_of(total.colors, total.counts, self._settings.search)
                options = options | palette_options(palette)
                there = {file for file in self._write_shared_palette(palette, there) if file.source not in failed}
                waiting = [file for file in self.files if file not in there and file.source not in failed]
            self._progress("write")
            for file in self.files:
                if file in there:
                    yield FileOutcome(file.source, file.target, "skipped")
            if waiting:
                yield from self._crew.write(waiting, palette, options, self._stopped)

    def _tell_counted(self, file: PlannedFile) -> None:
        if self._counted:
            self._counted(file.source)

    def _write_shared_palette(self, palette: Palette, there: set[PlannedFile]) -> set[PlannedFile]:
        """Write the shared palette, unless results are to be kept that have another one; and the results that have it.

        Raises
        ------
        ArgumentError
            There are such results.
        """
        assert self._output is not None
        path = self._output / SHARED_PALETTE
        if there and (not holds(path.is_file) or not np.array_equal(read_palette(path).rgba, palette.rgba)):
            if self._existing == "skip":
                other = f"the palette of all photos is not, or no longer, that of {path}, which results that exist have"
                ways_out = "write those anew with existing='update' (--skip-existing --force)"
                raise ArgumentError(f"{other}; {ways_out}, or apply theirs to the new photos, with palette=")
            there = set()
        check_inside(path, self._output)
        write_palette(palette, path)
        return there

"""The display of the command for many files: bars on a terminal, lines elsewhere, and a summary."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from gpuquant.cli.stages import STAGES
from gpuquant.cli.words import in_cli_words, printable
from gpuquant.locations import Place

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from gpuquant.batch.job import Batch
    from gpuquant.batch.outcome import FileOutcome

BAR_WIDTH = 16  # with which a line has room in a terminal of 80 columns
COUNTED = ("count", "write")  # stages whose bars count photos


class BatchProgress:
    """The lines and bars of one job."""

    def __init__(self, quiet: bool) -> None:
        self.n = {"written": 0, "skipped": 0, "failed": 0}
        self._quiet, self._n_pixels, self._start = quiet, 0, time.perf_counter()
        self._n_files, self._passed_over = 0, ""
        self._bars: Progress | None = None
        self._bar: TaskID | None = None  # of the stage that runs
        self._stage, self._n_done = "", 0  # photos of that stage

    @contextmanager
    def showing(self, job: "Batch") -> Iterator[None]:
        """Show bars on a terminal while the job runs."""
        from gpuquant.batch.passed_over import passed_over_words

        self._start, self._n_files = time.perf_counter(), len(job)
        if job.passed_over or job.results_passed_over:
            self._passed_over = f"; {passed_over_words(job.passed_over, job.results_passed_over)}"
        if self._quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(BAR_WIDTH), TextColumn("{task.fields[done]}")
        note = TimeRemainingColumn(elapsed_when_finished=True), TextColumn("{task.fields[note]}")
        with Progress(*columns, *note, console=Console(stderr=True)) as self._bars:
            yield

    def begin(self, stage: str) -> None:
        """Begin the bar of a stage: it counts photos, or moves to and fro where nobody knows how long it takes."""
        if self._bars is None:
            return
        if self._bar is not None and self._stage not in COUNTED:
            self._bars.update(self._bar, total=1, completed=1)
        words = "photos" if stage == "write" and self._bar is None else STAGES[stage]
        self._bar, self._stage, self._n_done = self._bars.add_task(words, total=None, done="", note=""), stage, 0
        self._update()

    def count(self, _: Place) -> None:
        """Note that a photo's colors are counted."""
        self._n_done += 1
        self._update()

    def add(self, outcome: "FileOutcome") -> None:
        """Note that a photo is done, or has failed, which leaves one less to do."""
        self.n[outcome.status] += 1
        self._n_pixels += (outcome.width or 0) * (outcome.height or 0)
        self._n_done += outcome.status != "failed"
        self._update()
        for note in () if self._quiet else outcome.warnings:
            self._tell(outcome, note)
        if outcome.status == "failed":
            self._tell(outcome, str(outcome.error))
        elif outcome.status == "written" and not self._quiet and not self._bars:
            error = "lossless" if outcome.mse == 0 else f"PSNR {outcome.psnr:.2f} dB"
            from gpuquant.palettes.palette import n_colors

            size = f"{outcome.width} x {outcome.height}, {n_colors(outcome.n_colors or 0)}, {error}"
            self._print(f"wrote {outcome.target}: {size}", sys.stdout)

    def summarize(self, page: Place | None = None) -> None:
        """Print what became of the photos, what was passed over, and how long it took; before it where the page is."""
        if not self._quiet:
            if page is not None:
                sys.stdout.write(f"wrote {printable(str(page))}\n")
            counts = ", ".join(f"{number} {status}" for status, number in self.n.items() if number)
            seconds = time.perf_counter() - self._start
            megapixels = f"{self._n_pixels / 1e6:.1f} megapixels in {seconds:.1f} s, {self._rate()}"
            sys.stdout.write(f"{counts or 'nothing done'}{self._passed_over}; {megapixels}\n")

    def _update(self) -> None:
        if self._bars is None or self._bar is None or self._stage not in COUNTED:
            return
        total = self._n_files - self.n["failed"]
        notes = [self._rate()] if self._stage == "write" else []
        notes += [f"{self.n['failed']} failed"] if self.n["failed"] else []
        done = f"{self._n_done}/{total}"
        self._bars.update(self._bar, completed=self._n_done, total=total, done=done, note=", ".join(notes))

    def _rate(self) -> str:
        return f"{self._n_pixels / 1e6 / (time.perf_counter() - self._start):.1f} MP/s"

    def _tell(self, outcome: "FileOutcome", said: str) -> None:
        names = [*sys.argv[1:], str(outcome.source), str(outcome.target)]
        self._print(f"gpuquant: {outcome.source}: {in_cli_words(said, names)}", sys.stderr)

    def _print(self, line: str, stream: TextIO) -> None:
        text = printable(line)
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            stream.write(f"{text}\n")
            stream.flush()

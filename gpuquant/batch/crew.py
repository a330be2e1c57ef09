"""Crew: who works on the files of a batch; here its threads."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

import torch

from gpuquant.batch.file_work import FileWork
from gpuquant.batch.outcome import FileOutcome
from gpuquant.batch.plan import PlannedFile
from gpuquant.batch.workers import in_threads
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.options import Options

Counted = Callable[[PlannedFile], None]


def failures_of_counting(
    found: Generator[tuple[PlannedFile, FileOutcome | None], None, None], counted: Counted
) -> Iterator[FileOutcome]:
    """Tell of each file that is counted; the outcomes of those that fail."""
    with closing(found):  # also after an error, whose traceback holds it
        for file, outcome in found:
            if outcome:
                yield outcome
            else:
                counted(file)


class Crew(Protocol):
    """Threads, or the workers of a cluster. Each of its steps ends early when the job is stopped."""

    def __enter__(self) -> Self:
        """Be ready for work."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Wait for the files in work, and be gone."""

    def count(
        self, files: list[PlannedFile], total: ColorHistogram, counted: Counted, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Count all files into one histogram, which has them at the end, and tell of each; the outcomes of failures."""

    def write(
        self, files: list[PlannedFile], palette: Palette | None, options: Options, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Quantize files, each to its palette or all to one, and write the results with these options; outcomes."""


class Threads:
    """A crew of threads of this process."""

    def __init__(self, work: FileWork, jobs: int) -> None:
        self.work, self._jobs = work, jobs
        self._n_torch_threads = 1

    def __enter__(self) -> Self:
        self._n_torch_threads = torch.get_num_threads()
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._n_torch_threads)  # which torch also keeps for threads to come

    def count(
        self, files: list[PlannedFile], total: ColorHistogram, counted: Counted, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Count all files into one histogram."""
        found = in_threads(files, lambda file, number: self.work.count(file, number, total), self._jobs, stopped)
        yield from failures_of_counting(found, counted)

    def write(
        self, files: list[PlannedFile], palette: Palette | None, options: Options, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Quantize files, and write the results."""

        def work(file: PlannedFile, number: int) -> FileOutcome | None:
            return self.work.write(file, number, palette, options, is_stopped=stopped.is_set)

        for _, outcome in in_threads(files, work, self._jobs, stopped):
            if outcome:
                yield outcome

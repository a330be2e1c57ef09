"""ClusterCrew: the workers of a cluster as the crew of a batch, and the steps that run in them."""

import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from gpuquant.batch.crew import Counted, failures_of_counting
from gpuquant.batch.file_work import FileWork, Settings
from gpuquant.batch.outcome import FileOutcome
from gpuquant.batch.plan import PlannedFile
from gpuquant.batch.shares import shares_of
from gpuquant.cluster.pool import Pool
from gpuquant.cluster.ray_cluster import connected
from gpuquant.cluster.transport import WorkerDiedError
from gpuquant.cluster.worker import Seat, Step
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.devices import resolve_device
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import is_there
from gpuquant.memory import parse_memory
from gpuquant.palettes.palette import Palette
from gpuquant.quantization.options import Options
from gpuquant.tensors import as_numpy, shared_tensor
from gpuquant.whole_file import told

Kept = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # colors [M, 3] or [M, 4] with alpha, and counts [M]
DEVICES = ("auto", "cpu", "cuda")


class ClusterCrew:
    """The workers of a cluster, to which it is connected when there is something to do."""

    def __init__(
        self,
        cluster: str,
        settings: Settings,
        *,
        jobs: int | None,
        memory: int | str | None,
        device: str | torch.device,
    ) -> None:
        if str(device) not in DEVICES:
            kinds = '"auto", "cpu" or "cuda"'
            raise ArgumentError(
                f"device={str(device)!r} names a device; on a cluster, which gives them out, use {kinds}"
            )
        if memory is not None:
            parse_memory(memory)
        self._cluster, self._jobs, self._device = cluster, jobs, str(device)
        self._settings, self._memory = settings, memory
        self._ends = ExitStack()
        self._pool: Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def count(
        self, files: list[PlannedFile], total: ColorHistogram, counted: Counted, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Count all files, each worker into a histogram of its own; these are added up when no file is left."""

        def take(kept: Kept) -> None:
            _add(total, kept)

        yield from failures_of_counting(self._work("counting", (), files, stopped, take), counted)

    def write(
        self, files: list[PlannedFile], palette: Palette | None, options: Options, stopped: threading.Event
    ) -> Iterator[FileOutcome]:
        """Quantize files, and write the results."""
        for _, outcome in self._work("writing", (palette, options), files, stopped):
            if outcome:
                yield outcome

    def _work(
        self,
        step: str,
        given: tuple[Any, ...],
        files: list[PlannedFile],
        stopped: threading.Event,
        take: Callable[[Kept], None] | None = None,
    ) -> Generator[tuple[PlannedFile, FileOutcome | None], None, None]:
        if stopped.is_set():  # before there is a cluster, which takes seconds
            return
        named = Step(f"{__name__}:{step}", (self._settings, self._memory, *given))
        for number, found in self._pool_for(files).work(named, files, stopped, take):
            yield files[number], _outcome(files[number], found)

    def _pool_for(self, files: list[PlannedFile]) -> Pool:
        if self._pool is None:
            transport = self._ends.enter_context(connected(self._cluster))
            paths, output = paths_to_see(files), self._settings.output
            if isinstance(output, Path):  # until the end, as nodes may join
                paths[str(self._ends.enter_context(_mark_in(output)))] = str(output.absolute())
            self._pool = Pool(transport, paths, jobs=self._jobs, device=self._device)
            self._ends.callback(self._pool.close)
        return self._pool


def paths_to_see(files: list[PlannedFile]) -> dict[str, str]:
    """A photo of each folder, those inside of others left out: every machine has to see it. URLs are seen anywhere.

    The folder alone would not do: another machine may have one of its own that is called the same, such as /tmp.
    """
    folders = {file.source.parent.absolute() for file in files if isinstance(file.source, Path)}
    tops = {folder for folder in folders if folders.isdisjoint(folder.parents)}
    found: dict[Path, str] = {}
    for source in (file.source for file in files if isinstance(file.source, Path)):
        folder = source.parent.absolute()
        top = next(one for one in (folder, *folder.parents) if one in tops)
        if top not in found and is_there(source):
            found[top] = str(source.absolute())
    return {path: path for path in sorted(found.values())}


@contextmanager
def _mark_in(folder: Path) -> Iterator[Path]:
    """A hidden file, of a name that no other folder has: who sees it has this folder, not one that is called the same.

    Raises
    ------
    ImageFileError
        It cannot be written.
    """
    mark = folder.absolute() / f".gpuquant-{secrets.token_hex(8)}"
    try:
        with told(lambda reason: ImageFileError(f"{folder} cannot be written: {reason}")):
            mark.touch()
        yield mark
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def _outcome(file: PlannedFile, found: FileOutcome | WorkerDiedError | None) -> FileOutcome | None:
    if isinstance(found, WorkerDiedError):
        return FileOutcome(file.source, file.target, "failed", error="the worker died")
    return found


def _add(total: ColorHistogram, kept: Kept) -> None:
    colors, counts = kept
    total.add_counted(shared_tensor(colors), shared_tensor(counts))


class Counting:
    """The step that counts files, and keeps their sum."""

    def __init__(self, work: FileWork) -> None:
        self._work, self._total = work, ColorHistogram("cpu")

    def __call__(self, file: PlannedFile, is_again: bool, is_stopped: Callable[[], bool]) -> FileOutcome | None:
        """Add the colors of a file, or say why it fails."""
        return self._work.count(file, 0, self._total)

    def hand_over(self) -> Kept:
        """Give away the counts, and begin with none."""
        total, self._total = self._total, ColorHistogram("cpu")
        return as_numpy(total.colors), as_numpy(total.counts)

    def take_over(self, kept: Kept) -> None:
        """Add counts."""
        _add(self._total, kept)


class Writing:
    """The step that quantizes files and writes the results."""

    def __init__(self, work: FileWork, palette: Palette | None, options: Options) -> None:
        self._work, self._palette, self._options = work, palette, options

    def __call__(self, file: PlannedFile, is_again: bool, is_stopped: Callable[[], bool]) -> FileOutcome | None:
        """Write the result of a file; over that which a worker wrote that died before it could tell."""
        return self._work.write(file, 0, self._palette, self._options, is_stopped=is_stopped, is_again=is_again)


def counting(seat: Seat, settings: Settings, memory: int | str | None) -> Counting:
    """Make the step that counts, in a worker."""
    return Counting(_work_of(seat, settings, memory))


def writing(
    seat: Seat, settings: Settings, memory: int | str | None, palette: Palette | None, options: Options
) -> Writing:
    """Make the step that writes, in a worker."""
    return Writing(_work_of(seat, settings, memory), palette, options)


def _work_of(seat: Seat, settings: Settings, memory: int | str | None) -> FileWork:
    """The work of one process, for its part of the node's CPUs and memory."""
    n_threads = max(1, seat.n_cpus // seat.n_jobs)
    shares = shares_of(
        memory,
        jobs=seat.n_jobs,
        n_threads=n_threads,
        as_floats=settings.search.color_space != "srgb",
        n_processes=seat.n_workers,
    )
    return FileWork(settings, [resolve_device("cuda" if seat.has_gpu else "cpu")], shares, n_threads)

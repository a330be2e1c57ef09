"""quantize_files(): many files, several at a time, one outcome each."""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gpuquant.arguments import check_compression, check_positive, check_settings, is_integer
from gpuquant.batch_plan import PlannedFile, check_inside, plan_files
from gpuquant.batch_threads import PixelBudget, in_threads
from gpuquant.counted_photo import add_photo_colors
from gpuquant.devices import resolve_device
from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.image_reading import MAX_PIXELS, read_photo, read_size
from gpuquant.image_steps import CountedImage, count_image, fit_colors, fit_to_palette, map_image, palette_of
from gpuquant.image_writing import check_format
from gpuquant.palette import Palette
from gpuquant.palette_files import write_palette
from gpuquant.photo_loading import parse_color
from gpuquant.quantization import MAX_COLORS, check_palette
from gpuquant.quantized_image import QuantizedImage

PIXELS_IN_FLIGHT = 32_000_000  # for each job; a larger file goes alone
SHARED_PALETTE = "palette.txt"
EXISTING = ("refuse", "skip", "overwrite")


@dataclass(frozen=True, eq=False)
class FileOutcome:
    """What became of one file.

    Attributes
    ----------
    source, target : Path
    status : "written", "skipped" or "failed"
        Files are skipped that exist already.
    error : str, optional
        Why it failed, in one line.
    width, height, n_colors : int, optional
    mse, psnr : float, optional
        As of `QuantizedImage`.
    bytes_in, bytes_out : int, optional
        Sizes of the two files.
    seconds : dict of str to float
        Wall time of each stage: "read", "count", "cluster", "map", "write".
    warnings : tuple of str
        What was lost in reading.
    """

    source: Path
    target: Path
    status: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    n_colors: int | None = None
    mse: float | None = None
    psnr: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> str:
        """One line; an infinite PSNR is null."""
        values: dict[str, Any] = self.__dict__ | {"source": str(self.source), "target": str(self.target)}
        if self.psnr is not None and math.isinf(self.psnr):
            values["psnr"] = None
        return json.dumps(values)


@dataclass(frozen=True, eq=False)
class _Settings:
    n_colors: int
    random_state: int
    max_pixels: int
    background: tuple[int, int, int] | None
    keep_profile: bool
    compression: int | None


class Batch:
    """Many files to quantise: iterate to work on them, and get one `FileOutcome` each, in the order they finish.

    Attributes
    ----------
    files : list of PlannedFile
        What is read, and where each result goes.
    """

    def __init__(
        self,
        files: list[PlannedFile],
        output: Path,
        settings: _Settings,
        *,
        jobs: int,
        devices: list[torch.device],
        existing: str,
        palette: Palette | None,
        shared_palette: bool,
        log: Path | None,
        counted: Callable[[Path], None] | None,
    ) -> None:
        self.files = files
        self._output, self._settings, self._jobs, self._devices = output, settings, jobs, devices
        self._existing, self._palette, self._shared = existing, palette, shared_palette
        self._log_path, self._counted = log, counted
        self._stopped = threading.Event()
        self._budget = PixelBudget(PIXELS_IN_FLIGHT * jobs)
        self._turns = [nullcontext() if one.type == "cpu" else threading.Lock() for one in devices]

    def __len__(self) -> int:
        return len(self.files)

    def stop(self) -> None:
        """Begin no more files: those in flight are finished, and the iteration ends."""
        self._stopped.set()

    def __iter__(self) -> Iterator[FileOutcome]:
        n_threads = torch.get_num_threads()
        try:
            if self._log_path and self._log_path.parent == self._output:
                self._output.mkdir(parents=True, exist_ok=True)
            with _Log(self._log_path) as log:
                for outcome in self._outcomes():
                    log.add(outcome)
                    yield outcome
        finally:
            torch.set_num_threads(n_threads)  # which torch also keeps for threads to come

    def _outcomes(self) -> Iterator[FileOutcome]:
        waiting: list[PlannedFile] = []
        for file in self.files:
            if self._existing == "skip" and file.target.exists():
                yield FileOutcome(file.source, file.target, "skipped")
            else:
                waiting.append(file)
        palette = self._palette
        if self._shared and waiting:
            found: list[tuple[Tensor, Tensor]] = []
            failed: set[Path] = set()
            for file, counts in self._in_threads(self.files, self._count):
                if isinstance(counts, FileOutcome):
                    failed.add(file.source)
                    if file in waiting:
                        yield counts
                else:
                    found = [add_photo_colors(found[0], counts) if found else counts]
                if self._counted:
                    self._counted(file.source)
            if self._stopped.is_set() or not found:
                return
            palette = palette_of(*found[0], self._settings.n_colors, random_state=self._settings.random_state)
            self._output.mkdir(parents=True, exist_ok=True)
            write_palette(palette, self._output / SHARED_PALETTE)
            waiting = [file for file in waiting if file.source not in failed]
        for _, outcome in self._in_threads(waiting, lambda file, place: self._quantize(file, place, palette)):
            assert isinstance(outcome, FileOutcome)
            yield outcome

    def _in_threads(
        self, files: list[PlannedFile], work: Callable[[PlannedFile, int], Any]
    ) -> Iterator[tuple[PlannedFile, Any]]:
        n_threads = max(1, _n_cores() // self._jobs)

        def guarded(file: PlannedFile, worker: int) -> Any:
            torch.set_num_threads(n_threads)
            try:
                return work(file, worker % len(self._devices))
            except Exception as error:
                return FileOutcome(file.source, file.target, "failed", error=_reason(error, file.source))

        return in_threads(files, guarded, self._jobs, self._stopped)

    def _count(self, file: PlannedFile, place: int) -> tuple[Tensor, Tensor]:
        with self._budget.of(_n_pixels(file.source)):
            counted = self._counted_image(file.source, place).counted
            return counted.colors.cpu(), counted.counts.cpu()

    def _counted_image(self, source: Path, place: int) -> CountedImage:
        settings, start = self._settings, time.perf_counter()
        photo = read_photo(source, max_pixels=settings.max_pixels)
        seconds = time.perf_counter() - start
        with self._turns[place]:
            counted = count_image(
                photo, self._devices[place], settings.max_pixels, settings.background, settings.keep_profile, None
            )
        counted.seconds["read"] = seconds
        return counted

    def _quantize(self, file: PlannedFile, place: int, palette: Palette | None) -> FileOutcome:
        source, target = file.source, file.target
        if self._existing == "refuse" and target.exists():
            raise ImageFileError(f"{target} exists")
        check_inside(target, self._output)
        with self._budget.of(_n_pixels(source)):
            result, notes = self._result(source, place, palette)
            start = time.perf_counter()
            target.parent.mkdir(parents=True, exist_ok=True)
            check_inside(target, self._output)
            result.save(target, compression=self._settings.compression)
        height, width = result.labels.shape
        return FileOutcome(
            source,
            target,
            "written",
            width=width,
            height=height,
            n_colors=len(result.palette),
            mse=result.mse,
            psnr=result.psnr,
            bytes_in=source.stat().st_size,
            bytes_out=target.stat().st_size,
            seconds=result.seconds | {"write": time.perf_counter() - start},
            warnings=notes,
        )

    def _result(
        self, source: Path, place: int, palette: Palette | None
    ) -> tuple[QuantizedImage, tuple[str, ...]]:  # which keep no pixels while they are written
        image = self._counted_image(source, place)
        with self._turns[place]:
            if palette is not None:
                fit = fit_to_palette(image, palette, chunk_size=None)
                return map_image(source, image, fit, in_order=True), image.notes
            settings: dict[str, Any] = {"init": "k-means++", "n_init": 1, "max_iter": 300, "tol": 1e-4}
            fit = fit_colors(image, self._settings.n_colors, random_state=self._settings.random_state, **settings)
            return map_image(source, image, fit), image.notes


def quantize_files(
    paths: Sequence[str | Path] | str | Path,
    output: str | Path,
    n_colors: int = 8,
    *,
    recursive: bool = False,
    image_format: str = "png",
    jobs: int | None = None,
    device: str | torch.device = "auto",
    existing: str = "refuse",
    palette: Palette | None = None,
    shared_palette: bool = False,
    log: str | Path | None = None,
    random_state: int = 0,
    max_pixels: int = MAX_PIXELS,
    background: str | tuple[int, int, int] | None = None,
    keep_profile: bool = False,
    compression: int | None = None,
    counted: Callable[[Path], None] | None = None,
) -> Batch:
    """Quantise many files, several at a time: reading, clustering and writing overlap.

    A file that fails becomes an outcome and does not stop the others. Every result is whole or not there, also if the
    process is killed, and is the same as that of `quantize` for the file alone.

    Parameters
    ----------
    paths : path or list of paths
        Files, and folders whose photos are taken.
    output : path
        The folder for the results. The tree below a given folder is kept there; files that would write one result
        (a.jpg and a.png) keep their full names (a.jpg.png and a.png.png). Nothing is written elsewhere.
    n_colors, random_state, max_pixels, background, keep_profile
        As for `quantize`.
    recursive : bool
        Also take the photos of sub-folders.
    image_format : "png", "tif" or "gif"
    jobs : int, optional
        Files worked on at a time; as many as there are cores if not given. Memory grows with it: about 32 megapixels
        for each job are in flight, and a larger photo goes alone.
    device : str or torch.device
        As for `quantize`; "cuda:0,cuda:1" shares the files out among several.
    existing : "refuse", "skip" or "overwrite"
        What to do about results that are there already: raise before anything is written, go on where an earlier run
        stopped, or write them anew.
    palette : Palette, optional
        Apply it, in place of finding one for each file.
    shared_palette : bool
        Find one palette for all pixels of all files, exactly, and apply it; it is written to palette.txt, too.
    log : path, optional
        A file to which one line of JSON is added for each outcome, as it comes.
    compression : int, optional
        As for `QuantizedImage.save`.
    counted : callable, optional
        Called with each path that has been counted for a shared palette.

    Returns
    -------
    Batch
        Iterate over it; `len()` tells the number of files, and `stop()` begins no more of them.

    Raises
    ------
    ArgumentError
        An argument cannot be used, or there is nothing to do.
    DeviceError
        A device is not there.
    ImageFileError
        The log cannot be written; after the last file, if that happens on the way.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         Image.fromarray(np.eye(4, dtype=np.uint8) * 200).save(Path(folder) / f"{name}.bmp")
    ...     outcomes = list(gpuquant.quantize_files(folder, Path(folder) / "out", 2))
    >>> sorted((outcome.target.name, outcome.status) for outcome in outcomes)
    [('a.png', 'written'), ('b.png', 'written')]
    """
    if not is_integer(n_colors) or not 1 <= n_colors <= MAX_COLORS:
        raise ArgumentError(f"n_colors={n_colors!r} must be an integer from 1 to {MAX_COLORS}")
    check_settings(1, 1, 0, random_state, None)
    check_positive("max_pixels", max_pixels)
    check_compression(compression)
    if jobs is not None:
        check_positive("jobs", jobs)
    if existing not in EXISTING:
        raise ArgumentError(f"existing={existing!r} must be one of {', '.join(map(repr, EXISTING))}")
    if palette is not None:
        check_palette(palette)
        if shared_palette:
            raise ArgumentError("palette and shared_palette exclude each other; give one of them")
    suffix = f".{image_format.lower().removeprefix('.')}"
    check_format(f"image_format={image_format!r}{suffix}", n_colors if palette is None else len(palette))
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise ArgumentError(f"{output} is not a folder; name another one for the results")
    files = plan_files(given, output, recursive=recursive, suffix=suffix)
    _check_targets(files, existing)
    names = device.split(",") if isinstance(device, str) else [device]
    return Batch(
        files,
        output,
        _Settings(
            int(n_colors),
            int(random_state),
            max_pixels,
            None if background is None else parse_color(background),
            keep_profile,
            compression,
        ),
        jobs=int(jobs) if jobs is not None else _n_cores(),
        devices=[resolve_device(name) for name in names],
        existing=existing,
        palette=palette,
        shared_palette=shared_palette,
        log=None if log is None else Path(log),
        counted=counted,
    )


def _check_targets(files: list[PlannedFile], existing: str) -> None:
    sources = {os.path.realpath(file.source) for file in files}
    for file in files:
        if os.path.realpath(file.target) in sources:
            raise ArgumentError(f"{file.target} is one of the photos; choose another folder for the results")
    there = [file.target for file in files if existing == "refuse" and file.target.exists()]
    if there:
        message = f"{len(there)} of {len(files)} results exist already, such as {there[0]}"
        raise ArgumentError(f"{message}; skip or overwrite them (--skip-existing or --force)")


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _n_pixels(source: Path) -> int:
    width, height = read_size(source)
    return width * height


def _reason(error: Exception, source: Path) -> str:
    """In one line, without the name of the file."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower()):
        message = "out of memory; use fewer jobs"
    elif isinstance(error, GpuquantError | OSError):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    line = " ".join(message.split())
    return line.removeprefix(str(source)).removeprefix(":").strip() or type(error).__name__


class _Log:
    """Lines of JSON, each written as soon as it is known; trouble with them is told after the last one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._trouble: OSError | None = None

    def __enter__(self) -> "_Log":
        if self._path is None:
            return self
        try:
            self._file = self._path.open("ab+")
            if self._file.tell():  # a process that was killed may have left half a line
                self._file.seek(-1, os.SEEK_END)
                if self._file.read(1) != b"\n":
                    self._write(b"\n")
        except OSError as error:
            raise ImageFileError(f"{self._path} cannot be written: {error.strerror or error}") from None
        return self

    def add(self, outcome: FileOutcome) -> None:
        if self._file is not None:
            try:
                self._write(f"{outcome.as_json()}\n".encode())
            except OSError as error:
                self._trouble = error

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._file.flush()

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._trouble = error
        if self._trouble and kind is None:
            raise ImageFileError(f"{self._path} is incomplete: {self._trouble.strerror or self._trouble}")

"""gpuquant beside other quantizers on one photo: the time and memory that each takes, and the error of what it gives.

What is timed begins with pixels in memory and ends with a palette and one label for each pixel. Errors are those of the
result as it would be written: 8-bit entries, and the labels that the peer gave. Each peer has a process of its own, so
that no threads, caches or imports of one are another's. Programs are timed by their own work (see programs.py).
"""

import math
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.bench.peers import Quantizer
from gpuquant.bench.quantized import Pixels
from gpuquant.locations import Place

WARM_UP = 64  # the side of what each peer works on first
AROUND = 3  # times its own work that a program may take with reading and writing, before it runs fewer times
ROWS_AT_ONCE = 256  # so that differences and noise of a large photo take little memory
LARGEST_TILE = 14e6  # pixels
PROC = Path("/proc/self")


@dataclass(frozen=True)
class Measurement:
    """The time and memory that a quantizer took, and the figures of its result."""

    name: str
    version: str
    seconds: tuple[float, ...]  # of each run; empty where it could not run
    n_pixels: int
    n_colors: int  # that the result has
    mse: float  # mean over pixels of the sum over R, G, B of squared 8-bit differences
    peak_megabytes: float | None  # above what was there before; None where the system does not tell
    peak_device_megabytes: float | None = None  # of torch on a CUDA device
    first_seconds: float = 0  # of a photo of 64 x 64 pixels before all else: imports and starting, in a new process
    n_iter: int | None = None  # of k-means, where it tells
    agreement: float | None = None  # share of labels that are the first row's, where all start at the same centers
    problem: str = ""

    @property
    def median(self) -> float:
        """The median of the seconds of all runs."""
        return statistics.median(self.seconds)

    @property
    def megapixels_per_second(self) -> float:
        return self.n_pixels / 1e6 / self.median

    @property
    def psnr(self) -> float:
        """The peak signal-to-noise ratio in dB."""
        from gpuquant.colors.error import psnr

        return psnr(self.mse)


def sample_photo(width: int, height: int) -> Pixels:  # [H, W, 3]
    """scikit-learn's china.jpg enlarged, with the noise of a sensor (2 levels, standard deviation); always the same.

    Photos of more than 14 megapixels are tiles of such ones, each a mirror image of its neighbors, under noise of
    their own.
    """
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image("china.jpg"))
    n_tiles = math.ceil((width * height / LARGEST_TILE) ** 0.5)
    size = math.ceil(width / n_tiles), math.ceil(height / n_tiles)
    tile = np.array(photo.resize(size, Image.Resampling.LANCZOS))
    large = np.pad(tile, ((0, height - size[1]), (0, width - size[0]), (0, 0)), mode="symmetric")
    random = np.random.RandomState(0)
    for top in range(0, height, ROWS_AT_ONCE):
        rows = large[top : top + ROWS_AT_ONCE]
        rows[:] = (rows + random.normal(0, 2, rows.shape)).round().clip(0, 255)
    return large


def read_pixels(photo: Place, megapixels: float | None, max_pixels: int) -> Pixels:  # [H, W, 3]
    """Read a photo in sRGB, with white behind it, and scale it down where it has more megapixels than wanted."""
    from PIL import Image

    from gpuquant.images.reading import read_photo

    picture = Image.fromarray(read_photo(photo, max_pixels=max_pixels).in_srgb())
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    if megapixels is not None and picture.width * picture.height > megapixels * 1e6:
        factor = (picture.width * picture.height / (megapixels * 1e6)) ** 0.5
        picture = picture.resize((max(1, round(picture.width / factor)), max(1, round(picture.height / factor))))
    return np.asarray(picture)


@contextmanager
def stored(photo: Pixels) -> Iterator[Path]:
    """Keep a file of a photo's pixels, for processes to read, as long as the context is open."""
    with tempfile.TemporaryDirectory(prefix="gpuquant-") as folder:
        path = Path(folder) / "photo.npy"
        np.save(path, photo)
        yield path


def measure_apart(
    quantizer: Quantizer,
    photo: Path,  # as `stored` gives it
    n_colors: int,
    *,
    rounds: int,  # at most
    most_seconds: float,  # after which it is not run again
    limit: float = math.inf,  # seconds after which it is stopped
    labels_file: Path | None = None,  # .npy, to write the labels to
) -> Measurement:
    """`measure` in a process of its own. One that takes too long or dies becomes a problem, too."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    given = (theirs, quantizer, photo, n_colors, rounds, most_seconds, labels_file)
    process = context.Process(target=_measure_and_send, args=given, daemon=True)
    try:
        process.start()
        theirs.close()
        if ours.poll(None if math.isinf(limit) else limit):
            found: Measurement = ours.recv()
            return found
        problem = f"stopped after {limit:.3g} s"
    except EOFError:
        process.join()
        problem = f"its process ended with exit code {process.exitcode}"
    finally:
        _end(process)
        ours.close()
    return not_measured(quantizer, np.load(photo, mmap_mode="r")[:, :, 0].size, problem)


def _end(process: multiprocessing.process.BaseProcess) -> None:
    """End a process, and the programs that it runs: they are of its group. One that was not started has none."""
    if process.pid is None:
        return
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # it has ended, or has not come to make its group
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _measure_and_send(
    result: Connection,
    quantizer: Quantizer,
    photo: Path,
    n_colors: int,
    rounds: int,
    most_seconds: float,
    labels_file: Path | None,
) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silence = os.open(os.devnull, os.O_WRONLY)  # for warnings of libraries; errors become a problem
    for stream in (1, 2):
        os.dup2(silence, stream)
    pixels = np.load(photo)
    settings: dict[str, Any] = {"rounds": rounds, "most_seconds": most_seconds, "labels_file": labels_file}
    result.send(measure(quantizer, pixels, n_colors, **settings))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def measure(
    quantizer: Quantizer,
    photo: Pixels,
    n_colors: int,
    *,
    rounds: int,  # at most
    most_seconds: float,  # after which it is not run again
    labels_file: Path | None = None,  # .npy, to write the labels to
) -> Measurement:
    """Run a quantizer some times, and check what it gives; one that is missing or fails becomes a problem."""
    problem = missing(quantizer.package)
    if problem:
        return not_measured(quantizer, photo.shape[0] * photo.shape[1], problem)
    seconds: list[float] = []
    try:
        start = time.perf_counter()
        quantizer.run(photo[:WARM_UP, :WARM_UP], min(n_colors, 4))
        first = time.perf_counter() - start
        before = _start_of_peak()
        end = time.perf_counter() + AROUND * most_seconds
        while not seconds or (len(seconds) < rounds and sum(seconds) < most_seconds and time.perf_counter() < end):
            start = time.perf_counter()
            result = quantizer.run(photo, n_colors)
            taken = time.perf_counter() - start
            seconds.append(taken if result.seconds is None else result.seconds)
        peak = result.peak_megabytes
        if peak is None and result.seconds is None and before is not None:
            peak = (_memory("VmHWM") - before) * 1024 / 1e6
        palette, labels, used = _checked(result.palette, result.labels, photo, n_colors)
    except Exception as error:  # of any library: the others go on
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return not_measured(quantizer, photo.shape[0] * photo.shape[1], problem)
    if labels_file:
        np.save(labels_file, labels.astype(np.uint16))
    return Measurement(
        name=quantizer.name,
        version=result.version or version(quantizer.package),
        seconds=tuple(seconds),
        n_pixels=labels.size,
        n_colors=len(np.unique(palette[used], axis=0)),
        mse=squared_error(photo, palette, labels) / labels.size,
        peak_megabytes=peak,
        peak_device_megabytes=_device_peak(),
        first_seconds=first,
        n_iter=None if result.n_iter is None else int(result.n_iter),
    )


def squared_error(photo: Pixels, palette: Pixels, labels: npt.NDArray[Any]) -> int:
    """The sum of squared differences between a photo and its labels' entries."""
    total = 0
    for top in range(0, len(photo), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        total += int(np.square(photo[rows].astype(np.int64) - palette[labels[rows]]).sum())
    return total


def _checked(
    palette: npt.NDArray[Any], labels: npt.NDArray[Any], photo: Pixels, n_colors: int
) -> tuple[Pixels, npt.NDArray[Any], npt.NDArray[Any]]:
    """The palette as written, the labels [H, W], and which entries are used."""
    labels = labels.reshape(photo.shape[:2])
    used = np.unique(labels)
    if used[0] < 0 or used[-1] >= len(palette):
        raise ValueError(f"labels from {used[0]} to {used[-1]} for {len(palette)} colors")
    if len(used) > n_colors:
        raise ValueError(f"{len(used)} colors in place of {n_colors}")
    return palette.round().clip(0, 255).astype(np.uint8), labels, used


def missing(package: str) -> str:
    """The problem that a package is not installed, or nothing."""
    try:
        version(package)
    except PackageNotFoundError:
        return f"not installed: pip install {package}"
    return ""


def not_measured(quantizer: Quantizer, n_pixels: int, problem: str) -> Measurement:
    """A measurement without figures, with the problem in their place."""
    return Measurement(quantizer.name, "", (), n_pixels, 0, 0.0, None, problem=problem)


def _start_of_peak() -> int | None:
    """Start the peaks of memory anew, and give what is used now, in kB; None where the system does not let us."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")


def _device_peak() -> float | None:
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 1e6 if torch and torch.cuda.is_initialized() else None


def _memory(key: str) -> int:
    return next(int(line.split()[1]) for line in (PROC / "status").read_text().splitlines() if line.startswith(key))


def machine() -> dict[str, Any]:
    """The machine and the versions that the figures hold for."""
    import platform

    import torch

    processor = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        names = (line.partition(":")[2].strip() for line in described.read_text().splitlines() if "model name" in line)
        processor = next(names, processor)
    found: dict[str, Any] = {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found


def table(measurements: list[Measurement]) -> str:
    """Markdown that is readable as it is, and a line for each quantizer that could not run."""
    done = [one for one in measurements if one.seconds]
    cells = {heading: [text(one, done[0].median) for one in done] for heading, text in COLUMNS.items()}
    lines = [""] * (len(done) + 2)
    for heading, column in cells.items():
        if any(column):
            texts = [heading, "---:" if heading else "---", *column]
            width = max(map(len, texts))
            padded = [text.rjust(width) if heading else text.ljust(width) for text in texts]
            lines = [f"{line} {text} |" for line, text in zip(lines, padded, strict=True)]
    missing = [f"- not measured: {one.name}: {one.problem}" for one in measurements if not one.seconds]
    return "\n".join([*(f"|{line}" for line in lines if line), *([""] if missing else []), *missing]) + "\n"


COLUMNS: dict[str, Callable[[Measurement, float], str]] = {  # of a row and the first row's time
    "": lambda row, _: f"{row.name}, {row.version}",
    "s": lambda row, _: f"{row.median:.3f}",
    "from-to": lambda row, _: f"{min(row.seconds):.2f}-{max(row.seconds):.2f}" if len(row.seconds) > 1 else "",
    "runs": lambda row, _: str(len(row.seconds)),
    "/ first row": lambda row, first: f"{row.median / first:.2f}",
    "MP/s": lambda row, _: f"{row.megapixels_per_second:.1f}",
    "peak MB": lambda row, _: "" if row.peak_megabytes is None else f"{row.peak_megabytes:.0f}",
    "device MB": lambda row, _: "" if row.peak_device_megabytes is None else f"{row.peak_device_megabytes:.0f}",
    "first s": lambda row, _: f"{row.first_seconds:.1f}",
    "colors": lambda row, _: str(row.n_colors),
    "iterations": lambda row, _: "" if row.n_iter is None else str(row.n_iter),
    "same labels": lambda row, _: "" if row.agreement is None else f"{100 * row.agreement:.3f} %",
    "MSE": lambda row, _: f"{row.mse:.2f}",
    "PSNR dB": lambda row, _: f"{row.psnr:.2f}",
}

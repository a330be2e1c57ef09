"""Quantizers outside of Python: pngquant and ffmpeg, which are programs, and GDAL, which is a library in C.

A program is timed by its own work: what it takes to start is subtracted, and for pngquant, which reads and writes
PNG only, decoding and encoding, too. Its memory is that of its process.
"""

import ctypes
import io
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np

from gpuquant.bench.quantized import Pixels, Quantized

TINY = 16  # the side of a picture that takes a program hardly more than its start
LOOKS_EACH = 0.005  # seconds between two looks at the memory of a program
LEAST_SECONDS = 0.001  # of a program's own work: starting varies by more, which only matters for tiny pictures
FEW_PIXELS, FEW_RUNS = 1_000_000, 3  # up to which pngquant's work is so short that one run of each says little
GDAL_BYTE = 1  # GDT_Byte
READ, WRITE = 0, 1  # GF_Read and GF_Write


def run_program(command: list[Any]) -> tuple[float, float | None]:
    """Run a program to its end: its seconds, and its memory at the peak in MB where the system tells."""
    start = time.perf_counter()
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peaks: list[int] = []
    watching = threading.Thread(target=_watch_memory, args=(started, peaks), daemon=True)
    watching.start()
    told = started.communicate()[1]
    seconds = time.perf_counter() - start
    watching.join()
    if started.returncode:
        raise RuntimeError(f"exit code {started.returncode}: {told.decode(errors='replace')[-200:]}")
    return seconds, max(peaks) * 1024 / 1e6 if peaks else None


def _run_some(command: list[Any], n_runs: int) -> tuple[float, float | None]:
    """The median of the seconds of some runs, and the memory of the last."""
    runs = [run_program(command) for _ in range(n_runs)]
    return statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def _watch_memory(started: "subprocess.Popen[bytes]", peaks: list[int]) -> None:
    """Note the peak that Linux tells, as long as the process is there; that of `wait4` is also the parent's."""
    status = Path(f"/proc/{started.pid}/status")
    while started.returncode is None:
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        peaks += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        time.sleep(LOOKS_EACH)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gpuquant-") as folder:
        yield Path(folder)


def _above(peak: float | None, start: float | None) -> float | None:
    return None if peak is None or start is None else max(peak - start, 0)


def pngquant_program() -> Path:
    """The program that the package pngquant-cli installs."""
    return next(Path(str(one.locate())) for one in files("pngquant-cli") or [] if one.stem == "pngquant")


def plain_png(pixels: Pixels) -> bytes:
    """A PNG that is not compressed, so that it is read as fast as can be."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def pngquant(photo: Pixels, n_colors: int) -> Quantized:
    """Quantize with pngquant, without dithering.

    It runs once more on its own result, which has K colors: starting, decoding, a trivial choice of colors and encoding
    the same picture. That time is subtracted. What is left is counting and choosing colors, and mapping to them.
    """
    from PIL import Image

    options = ["--nofs", "--force", str(n_colors), "--output"]
    with _folder() as folder:
        given, out, again = (folder / name for name in ("given.png", "out.png", "again.png"))
        given.write_bytes(plain_png(photo))
        n_runs = 1 if photo.size > 3 * FEW_PIXELS else FEW_RUNS
        seconds, peak = _run_some([pngquant_program(), *options, out, given], n_runs)
        with Image.open(out) as found:
            found.load()
        colors = np.array(found.getpalette("RGB"), np.uint8).reshape(-1, 3)
        labels = np.asarray(found)
        given.write_bytes(plain_png(colors[labels]))
        around, _ = _run_some([pngquant_program(), *options, again, given], n_runs)
        given.write_bytes(plain_png(photo[:TINY, :TINY]))
        _, start = run_program([pngquant_program(), *options, again, given])
    own = max(seconds - around, LEAST_SECONDS)
    return Quantized(colors, labels, seconds=own, peak_megabytes=_above(peak, start))


def ffmpeg(photo: Pixels, n_colors: int, dither: str = "none") -> Quantized:
    """Quantize with ffmpeg's palettegen and paletteuse, from raw pixels to raw indices.

    palettegen counts exact colors and cuts medians in Oklab. It keeps an entry for transparency if not told otherwise.
    """
    import imageio_ffmpeg

    program = imageio_ffmpeg.get_ffmpeg_exe()
    filters = (
        f"[0]split[seen][used];[seen]palettegen=max_colors={n_colors}:reserve_transparent=0[palette];"
        f"[used][palette]paletteuse=dither={dither}"
    )

    def run(pixels: Pixels, given: Path, out: Path) -> tuple[float, float | None]:
        given.write_bytes(pixels.tobytes())
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        command = [program, "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size]
        command += ["-i", given, "-filter_complex", filters, "-f", "rawvideo", "-pix_fmt", "pal8", out]
        return run_program(command)

    with _folder() as folder:
        start_seconds, start = run(photo[:TINY, :TINY], folder / "tiny.raw", folder / "tiny-out.raw")
        seconds, peak = run(photo, folder / "given.raw", folder / "out.raw")
        written = np.fromfile(folder / "out.raw", np.uint8)
    height, width, _ = photo.shape
    labels, palette = np.split(written, [height * width])
    entries = palette.reshape(256, 4)[:, 2::-1]  # B, G, R, A
    return Quantized(
        entries,
        labels.reshape(height, width),
        seconds=max(seconds - start_seconds, LEAST_SECONDS),
        peak_megabytes=_above(peak, start),
        version=imageio_ffmpeg.get_ffmpeg_version().lstrip("n").partition("-")[0],
    )


def gdal(photo: Pixels, n_colors: int) -> Quantized:
    """Quantize with the two functions of GDAL's rgb2pct, from the library that rasterio's wheel holds.

    The median cut sees 5 bits of each level, and the mapping is always dithered, by Floyd and Steinberg's method.
    """
    import rasterio

    library = _gdal_library(Path(rasterio.__file__).parent)
    pointer = ctypes.c_void_p
    height, width, _ = photo.shape
    rows = np.ascontiguousarray(photo)
    labels = np.empty((height, width), np.uint8)
    data = library.GDALCreate(pointer(library.GDALGetDriverByName(b"MEM")), b"", width, height, 4, GDAL_BYTE, None)
    table = pointer(library.GDALCreateColorTable(1))
    bands = [pointer(library.GDALGetRasterBand(pointer(data), number)) for number in (1, 2, 3, 4)]
    size = (0, 0, width, height)
    silent = pointer(ctypes.cast(library.GDALDummyProgress, pointer).value)
    try:
        for channel in range(3):
            first = pointer(rows.ctypes.data + channel)
            _succeed(library.GDALRasterIO(bands[channel], WRITE, *size, first, *size[2:], GDAL_BYTE, 3, 3 * width))
        _succeed(library.GDALComputeMedianCutPCT(*bands[:3], None, n_colors, table, silent, None))
        _succeed(library.GDALDitherRGB2PCT(*bands, table, silent, None))
        target = labels.ctypes.data_as(pointer)
        _succeed(library.GDALRasterIO(bands[3], READ, *size, target, *size[2:], GDAL_BYTE, 0, 0))
        n_entries = library.GDALGetColorEntryCount(table)
        entries = [library.GDALGetColorEntry(table, entry).contents[:3] for entry in range(n_entries)]
    finally:
        library.GDALDestroyColorTable(table)
        library.GDALClose(pointer(data))
    return Quantized(np.array(entries, np.uint8), labels, version=rasterio.__gdal_version__)


def _gdal_library(package: Path) -> ctypes.CDLL:
    """The library that a wheel has beside the package on Linux, and within it on a Mac."""
    places = (package.parent / "rasterio.libs", package / ".dylibs")
    found = [path for place in places for path in sorted(place.glob("libgdal*"))]
    if not found:
        raise RuntimeError("rasterio was not installed from a wheel that holds GDAL")
    library = ctypes.CDLL(str(found[0]))
    for name in ("GDALGetDriverByName", "GDALCreate", "GDALGetRasterBand", "GDALCreateColorTable"):
        getattr(library, name).restype = ctypes.c_void_p
    library.GDALGetColorEntry.restype = ctypes.POINTER(ctypes.c_short * 4)
    library.GDALAllRegister()
    return library


def _succeed(code: int) -> None:
    if code:
        raise RuntimeError(f"GDAL failed with code {code}")

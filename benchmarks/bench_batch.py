"""A folder of large photos: time beside a plain loop and beside the codecs alone, and memory. Equal files or it fails.

Run: pytest benchmarks/bench_batch.py [--full]     (--full: also the memory of 400 photos)
"""

import filecmp
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTOS, Report, large_photo, seconds_of
from PIL import Image

import gpuquant
from gpuquant.images.reading import read_photo
from gpuquant.images.writing import write_image

TIMES, N_COLORS, JOBS, ROUNDS = 8, 16, 2, 3


def folder_of(tmp_path: Path, times: int) -> Path:
    """Every large photo so many times, as links; made ones where there are no real ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photos = sorted((PHOTOS / "large").glob("*.jpg"))
    if not photos:
        photos = [tmp_path / "china_13mp.jpg"]
        Image.fromarray(large_photo("china_13mp")).save(photos[0], quality=90)
    for number in range(times):
        for photo in photos:
            (folder / f"{photo.stem}-{number:03}.jpg").symlink_to(photo)
    return folder


def empty(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()


def test_time_of_a_batch(benchmark: Any, report: Report, tmp_path: Path) -> None:
    """In turn: the batch, a loop, and decoding and encoding alone in as many threads."""
    photos = sorted(folder_of(tmp_path, TIMES).iterdir())
    looped, batched, coded = (tmp_path / name for name in ("looped", "batched", "coded"))

    def loop() -> None:
        for photo in photos:
            gpuquant.quantize(photo, N_COLORS, device="cpu").save(looped / f"{photo.stem}.png")

    def batch() -> None:
        outcomes = list(gpuquant.quantize_files(photos, batched, N_COLORS, device="cpu", jobs=JOBS))
        assert [outcome.error for outcome in outcomes] == [None] * len(photos)

    def code() -> None:
        def one(photo: Path) -> None:
            with Image.open(photo) as image:
                image.load()
            write_image(results[photo.stem.rsplit("-", 1)[0]], coded / f"{photo.stem}.png")

        with ThreadPoolExecutor(JOBS) as pool:
            list(pool.map(one, photos))

    empty(looped)
    loop()
    results = {}
    for photo in photos[::TIMES]:
        with Image.open(looped / f"{photo.stem}.png") as image:
            results[photo.stem.rsplit("-", 1)[0]] = image.copy()
    loops, codes = [], []

    def peers() -> None:
        for folder in (looped, batched, coded):
            empty(folder)
        loops.append(seconds_of(loop))
        codes.append(seconds_of(code))

    benchmark.pedantic(batch, setup=peers, rounds=ROUNDS)
    names = [f"{photo.stem}.png" for photo in photos]
    assert filecmp.cmpfiles(looped, batched, names, shallow=False) == (names, [], [])
    ours, theirs, alone = (statistics.median(times) for times in (benchmark.stats.stats.data, loops, codes))
    n_pixels = sum(TIMES * image.width * image.height for image in results.values())
    beside = f"{ours:.1f} s, {n_pixels / 1e6 / ours:.0f} MP/s; loop {theirs:.1f} s"
    report(f"{len(photos)} photos: time of a loop / that of the batch", theirs / ours, 1.2, 1.4, beside)
    what = f"{len(photos)} photos: time of the batch / that of the codecs alone"
    report(what, ours / alone, 3, 2, f"codecs {alone:.1f} s")


def test_memory_of_a_batch(report: Report, tmp_path: Path, full: bool) -> None:
    for times in (TIMES, 10 * TIMES) if full else (TIMES,):
        (tmp_path / str(times)).mkdir()
        folder = folder_of(tmp_path / str(times), times)
        output = tmp_path / f"out-{times}"
        command = [sys.executable, "-m", "gpuquant", "batch", str(folder), "-o", str(output), "-k", str(N_COLORS)]
        started = subprocess.Popen([*command, "--jobs", str(JOBS), "--quiet", "--device", "cpu"])
        _, status, usage = os.wait4(started.pid, 0)
        started.returncode = os.waitstatus_to_exitcode(status)
        assert started.returncode == 0
        n_photos = len(list(folder.iterdir()))
        assert len(list(output.iterdir())) == n_photos
        report(f"{n_photos} photos: memory at peak, GB", usage.ru_maxrss * 1024 / 1e9, 1.5, 0.8, f"{JOBS} jobs")


def test_reading_to_counted_colors(benchmark: Any, report: Report) -> None:
    """A photo of 13.7 megapixels as a JPEG, beside Pillow's decoder alone."""
    path = PHOTOS / "large" / "mr_lee_13mp.jpg"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")

    def ours() -> int:
        histogram = gpuquant.ColorHistogram()
        histogram.add(read_photo(path).pixels)
        return len(histogram)

    def theirs() -> None:
        with Image.open(path) as image:
            image.load()

    decoded: list[float] = []
    pixels = large_photo(path.stem).reshape(-1, 3).astype(np.int32)
    expected = len(np.unique(pixels @ np.array([1, 256, 65536], np.int32)))
    assert ours() == expected
    benchmark.pedantic(ours, setup=lambda: decoded.append(seconds_of(theirs)), rounds=11)
    median, alone = statistics.median(benchmark.stats.stats.data), statistics.median(decoded)
    beside = f"{1e3 * median:.0f} ms; decoding {1e3 * alone:.0f} ms"
    report("a JPEG to counted colors: time / that of decoding alone", median / alone, 2.2, 1.7, beside)

"""Folders of large and of small photos: time beside a loop and beside the codecs alone, and memory.

Files whose pixels and palettes are not those of a loop fail.

Run: pytest benchmarks/bench_batch.py [--full]     (--full: also the memory of 200 photos)
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTOS, InTurn, Report, Tell, check_quantized, kodak, large_photo
from PIL import Image

import gpuquant
from gpuquant.bench.measuring import missing
from gpuquant.bench.programs import pngquant_program
from gpuquant.images.packing import bit_depth, deflate_settings
from gpuquant.images.reading import read_photo
from gpuquant.images.sinks import open_sink
from gpuquant.threads import n_cores

TIMES, N_COLORS, JOBS, ROUNDS = 4, 16, 2, 3
SMALL_TIMES = 4


def folder_of(tmp_path: Path, times: int, kind: str = "large/*.jpg") -> Path:
    """Every photo of a kind so many times, as links; made ones where there are no real ones of the large."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photos = sorted(PHOTOS.glob(kind))
    if not photos:
        photos = [tmp_path / "china_13mp.jpg"]
        Image.fromarray(large_photo("china_13mp")).save(photos[0], quality=90)
    for number in range(times):
        for photo in photos:
            (folder / f"{photo.stem}-{number:03}{photo.suffix}").symlink_to(photo)
    return folder


def check_same(one: Path, other: Path) -> None:
    """Raise unless two files hold the same indices and palettes."""
    with Image.open(one) as first, Image.open(other) as second:
        assert first.getpalette("RGB") == second.getpalette("RGB"), one
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))


def empty(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()


def stem_of(photo: Path) -> str:
    """The name of what a link leads to."""
    return photo.stem.rsplit("-", 1)[0]


def batch(photos: list[Path], output: Path, n_colors: int, jobs: int) -> None:
    outcomes = list(gpuquant.quantize_files(photos, output, n_colors, device="cpu", jobs=jobs))
    assert [outcome.error for outcome in outcomes] == [None] * len(photos)


Encode = Callable[[Image.Image, Path], None]


def by_pillow(picture: Image.Image, path: Path) -> None:
    """Encode with the settings of zlib's that a batch takes."""
    level, strategy = deflate_settings(bit_depth(N_COLORS), None)
    picture.save(path, compress_level=level, compress_type=strategy)


def by_sink(picture: Image.Image, path: Path) -> None:
    """Encode as a batch does."""
    colors = np.reshape(picture.getpalette("RGB") or [], (-1, 3)).astype(np.uint8)
    with open_sink(path, picture.size, colors) as write:
        write(np.asarray(picture))


def decode_and_encode(
    photos: list[Path], pictures: dict[str, Image.Image], output: Path, encode: Encode = by_pillow
) -> None:
    """Decode each photo, and encode the picture of its name, in as many threads as a batch has jobs."""

    def one(photo: Path) -> None:
        with Image.open(photo) as image:
            image.load()
        encode(pictures[stem_of(photo)], output / f"{photo.stem}.png")

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(one, photos))


def test_time_of_a_batch(report: Report, tell: Tell, in_turn: InTurn, tmp_path: Path) -> None:
    """In turn: a loop, decoding and encoding alone in as many threads, and the batch."""
    photos = sorted(folder_of(tmp_path, TIMES).iterdir())
    looped, batched, coded = (tmp_path / name for name in ("looped", "batched", "coded"))
    looped.mkdir()

    def loop() -> None:
        for photo in photos:
            gpuquant.quantize(photo, N_COLORS, device="cpu").save(looped / f"{photo.stem}.png")

    loop()
    pictures = {}
    for photo in photos[::TIMES]:
        with Image.open(looped / f"{photo.stem}.png") as image:
            pictures[stem_of(photo)] = image.copy()
    seconds, _ = in_turn(
        {
            "loop": loop,
            "codecs": lambda: decode_and_encode(photos, pictures, coded),
            "own codecs": lambda: decode_and_encode(photos, pictures, coded, by_sink),
            "batch": lambda: batch(photos, batched, N_COLORS, JOBS),
        },
        ROUNDS,
        warm_up=False,  # the loop was one
        before=lambda: empty(looped, batched, coded),
    )
    for photo in photos:
        check_same(looped / f"{photo.stem}.png", batched / f"{photo.stem}.png")
    n_pixels = sum(TIMES * image.width * image.height for image in pictures.values())
    ours = seconds["batch"]
    beside = f"{ours:.1f} s, {n_pixels / 1e6 / ours:.0f} MP/s; loop {seconds['loop']:.1f} s"
    report(f"{len(photos)} photos: time of a loop / that of the batch", seconds["loop"] / ours, 1.2, 1.4, beside)
    what = f"{len(photos)} photos: time of the batch / that of the codecs alone"
    report(what, ours / seconds["codecs"], 1.7, 1.3, f"Pillow's codecs {seconds['codecs']:.1f} s")
    own = seconds["own codecs"]
    tell(what.replace("the codecs", "decoding and our encoder"), ours / own, f"they take {own:.1f} s")


@pytest.mark.parametrize(("n_colors", "reach", "aim"), [(16, 2.5, 1.6), (256, 5, 2.5)])
def test_time_of_small_photos(
    report: Report, tell: Tell, in_turn: InTurn, tmp_path: Path, n_colors: int, reach: float, aim: float
) -> None:
    """Photos of 0.4 megapixels, once the process is warm: batches, the codecs alone, and a pngquant for each file."""
    looped, coded = (tmp_path / name for name in ("looped", "coded"))
    looped.mkdir()
    pictures = {}
    for name, pixels in kodak().items():
        result = gpuquant.quantize(pixels, n_colors, device="cpu")
        check_quantized(pixels, result, n_colors)
        result.save(looped / f"{name}.png")
        pictures[name] = result.to_image()
    photos = sorted(folder_of(tmp_path, SMALL_TIMES, "kodak/*.png").iterdir())
    ours = {jobs: tmp_path / f"jobs-{jobs}" for jobs in sorted({1, 2, n_cores()})}
    theirs = {n_processes: tmp_path / f"pngquant-{n_processes}" for n_processes in (1, 2)}
    functions: dict[str, Callable[[], None]] = {"codecs": lambda: decode_and_encode(photos, pictures, coded)}
    for jobs, folder in ours.items():
        functions[f"{jobs} jobs"] = partial(batch, photos, folder, n_colors, jobs)
    if not missing("pngquant-cli"):
        for n_processes, folder in theirs.items():
            functions[f"{n_processes} pngquant"] = partial(by_pngquant, photos, folder, n_colors, n_processes)
    seconds, _ = in_turn(
        functions,
        ROUNDS,
        warm_up=False,  # the loop was one
        before=lambda: empty(coded, *ours.values(), *theirs.values()),
    )
    for photo in photos:
        for folder in ours.values():
            check_same(folder / f"{photo.stem}.png", looped / f"{stem_of(photo)}.png")
    what = f"{len(photos)} photos of 0.4 megapixels, K = {n_colors}"
    times = ", ".join(f"{jobs} jobs {seconds[f'{jobs} jobs']:.1f} s" for jobs in ours).replace("1 jobs", "1 job")
    ratio = seconds["2 jobs"] / seconds["codecs"]
    codecs = f"{times}, codecs {seconds['codecs']:.1f} s"
    report(f"{what}: time of the batch / that of the codecs alone", ratio, reach, aim, codecs)
    report(f"{what}: time of one job / that of two", seconds["1 jobs"] / seconds["2 jobs"], 1.7, 1.9, times)
    for n_processes, folder in theirs.items():
        if f"{n_processes} pngquant" in seconds:
            check_files(photos, folder, n_colors)
            taken = seconds[f"{n_processes} pngquant"]
            of_theirs = f"pngquant, {n_processes} at a time"
            beside = f"{of_theirs}, {taken:.1f} s; {times}"
            tell(f"{what}: time of two jobs / that of {of_theirs}", seconds["2 jobs"] / taken, beside)


def by_pngquant(photos: list[Path], output: Path, n_colors: int, n_processes: int) -> None:
    """A process for each file, without dithering, as ours are."""
    program = pngquant_program()

    def one(photo: Path) -> None:
        target = output / f"{photo.stem}.png"
        subprocess.run([program, "--nofs", "--output", target, str(n_colors), photo], check=True)

    with ThreadPoolExecutor(n_processes) as pool:
        list(pool.map(one, photos))


def check_files(photos: list[Path], folder: Path, n_colors: int) -> None:
    for photo in photos[::SMALL_TIMES]:
        with Image.open(photo) as read, Image.open(folder / f"{photo.stem}.png") as written:
            assert written.size == read.size
            assert len(written.convert("RGB").getcolors(256) or range(257)) <= n_colors


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


def test_reading_to_counted_colors(report: Report, in_turn: InTurn) -> None:
    """A photo of 13 megapixels as a JPEG, beside Pillow's decoder alone."""
    path = PHOTOS / "large" / "mr_lee_13mp.jpg"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")

    def ours() -> gpuquant.ColorHistogram:
        histogram = gpuquant.ColorHistogram()
        histogram.add(read_photo(path).pixels)
        assert len(histogram) > 0  # which adds up what was counted
        return histogram

    def decode() -> None:
        with Image.open(path) as image:
            image.load()

    seconds, results = in_turn({"decode": decode, "ours": ours}, 11)
    pixels = large_photo(path.stem).reshape(-1, 3)
    colors, counts = np.unique(pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32), return_counts=True)
    found = results["ours"]
    codes = np.asarray(found.colors, np.int32) @ np.array([65536, 256, 1], np.int32)
    np.testing.assert_array_equal(np.sort(codes), colors)
    np.testing.assert_array_equal(np.asarray(found.counts)[codes.argsort()], counts)
    beside = f"{1e3 * seconds['ours']:.0f} ms; decoding {1e3 * seconds['decode']:.0f} ms"
    what = "a JPEG to counted colors: time / that of decoding alone"
    report(what, seconds["ours"] / seconds["decode"], 1.5, 1.3, beside)

"""Photos larger than memory: memory and time of quantize_file beside the codecs alone and beside the in-memory way.

The photos are mosaics that libvips makes of real ones: side by side, mirrored, with noise. Results that differ from
those of the in-memory way fail. Memory is that of all processes, without files that are mapped into it.

Run: pytest benchmarks/bench_large.py [--full]     (--full: also 1 gigapixel as a JPEG, 4 and 16 as a tiled TIFF)
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PHOTOS, InTurn, Report
from PIL import Image

import gpuquant
from gpuquant.images.sinks import open_sink
from gpuquant.images.strips import open_strips

pyvips: Any = pytest.importorskip("pyvips")

N_COLORS, ROUNDS, NO_LIMIT = 16, 3, 10**11
TILE, NOISE = (4000, 3000), (4001, 3001)  # sizes that share no factor, so that no tile comes twice
FORMATS = {
    "jpg": "jpg[Q=90]",
    "png": "png[compression=1]",
    "tif": "tif[compression=deflate,bigtiff]",
    "tiles.tif": "tif[tile,compression=jpeg,Q=90,bigtiff]",
}
MEASURED = """
import sys, gpuquant
source, target, memory = sys.argv[1:4]
if memory:
    gpuquant.quantize_file(source, target, 16, memory=memory, max_pixels=10**11, device="cpu")
else:
    gpuquant.quantize(source, 16, max_pixels=10**11, device="cpu").save(target)
"""


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pillow read the results."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def mosaic(path: Path, megapixels: float, kind: str) -> Path:
    """Write a photo of so many megapixels, 4 by 3."""
    photos = sorted(PHOTOS.glob("large/*.jpg"))
    if not photos:
        pytest.skip("the large photographs are not there")
    tiles = []
    for photo in photos:
        image = pyvips.Image.new_from_file(str(photo)).colourspace("srgb")
        image = image.resize(max(TILE[0] / image.width, TILE[1] / image.height)).crop(0, 0, *TILE)
        tiles += [image.copy_memory(), image.fliphor().copy_memory()]
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = height * 4 // 3, height
    across, down = (-(-side // of_tile) for side, of_tile in zip(size, TILE, strict=True))
    chosen = [tiles[(3 * x + 7 * y) % len(tiles)] for y in range(down) for x in range(across)]
    noise = pyvips.Image.gaussnoise(*NOISE, sigma=2, seed=1).copy_memory()
    noise = noise.replicate(size[0] // NOISE[0] + 1, size[1] // NOISE[1] + 1).crop(0, 0, *size)
    whole = pyvips.Image.arrayjoin(chosen, across=across).crop(0, 0, *size) + noise
    file = path / f"m{megapixels:g}.{kind}"
    whole.cast("uchar").copy(interpretation="srgb").write_to_file(str(path / f"m{megapixels:g}.{FORMATS[kind]}"))
    (path / f"m{megapixels:g}.{FORMATS[kind].split('[')[0]}").rename(file)
    return file


def own_memory(process: int) -> int:
    """Bytes of a process and its children, without mapped files."""
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssShmem")))
    return own + sum(own_memory(int(child)) for child in children)


def peak_of(command: list[object]) -> tuple[float, float]:
    """Run a command: its memory at peak in GB, looked at every 10 ms, and its seconds."""
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(list(map(str, command)))
    while process.poll() is None:
        peak = max(peak, own_memory(process.pid))
        time.sleep(0.01)
    assert process.returncode == 0
    return peak / 1e9, time.perf_counter() - start


def codec_seconds(photo: Path, result: Path, target: Path) -> float:
    """Seconds in which the photo is decoded, and the labels of the result are encoded, both strip by strip."""
    with Image.open(result) as image:
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3)[:N_COLORS]
        labels = np.asarray(image)
    start = time.perf_counter()
    with open_strips(photo, budget=0, max_pixels=NO_LIMIT) as strips:
        for _ in strips.strips():
            pass
    with open_sink(target, (labels.shape[1], labels.shape[0]), palette) as write:
        for top in range(0, len(labels), 64):
            write(labels[top : top + 64])
    return time.perf_counter() - start


def test_250_megapixels_beside_the_in_memory_way(report: Report, in_turn: InTurn, tmp_path: Path) -> None:
    photo = mosaic(tmp_path, 250, "jpg")
    strips, whole = tmp_path / "strips.png", tmp_path / "whole.png"
    seconds, _ = in_turn(
        {
            "strips": lambda: gpuquant.quantize_file(photo, strips, N_COLORS, device="cpu"),
            "whole": lambda: gpuquant.quantize(photo, N_COLORS, device="cpu").save(whole),
        },
        ROUNDS,
        warm_up=False,
    )
    with Image.open(strips) as one, Image.open(whole) as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert one.getpalette() == other.getpalette()
    beside = f"{seconds['strips']:.1f} s; in memory {seconds['whole']:.1f} s"
    report("250 MP as a JPEG: time / that of the in-memory way", seconds["strips"] / seconds["whole"], 1, 0.8, beside)
    for memory in ("1GB", ""):
        peak, _ = peak_of([sys.executable, "-c", MEASURED, photo, strips, memory])
        what = f"250 MP as a JPEG: memory at peak, GB, {'of 1 GB allowed' if memory else 'in memory'}"
        report(what, peak, 1 if memory else 2, 0.6 if memory else 2, "")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_equals_the_in_memory_way(report: Report, tmp_path: Path, full: bool, kind: str) -> None:
    size = 100 if full else 40
    photo = mosaic(tmp_path, size, kind)
    found = gpuquant.quantize_file(photo, tmp_path / "out.png", N_COLORS, device="cpu", memory="500MB")
    wanted = gpuquant.quantize(photo, N_COLORS, device="cpu")
    assert found.palette.hex == wanted.palette.hex
    assert (found.mse, found.counts.tolist()) == (wanted.mse, wanted.counts.tolist())
    with Image.open(tmp_path / "out.png") as image:
        n_differing = int((np.asarray(image) != wanted.labels).sum())
    what = f"{size} MP, {kind}: labels that differ from the in-memory way"
    report(what, n_differing, 0, 0, "palette and MSE are equal, too")

    assert n_differing == 0


@pytest.mark.parametrize(
    ("gigapixels", "kind", "ending"),
    [(1.0, "jpg", "png"), (4.0, "tiles.tif", "tif"), (16.0, "tiles.tif", "tif")],
    ids=["JPEG", "TIFF", "largest TIFF"],
)
def test_gigapixels(report: Report, tmp_path: Path, full: bool, gigapixels: float, kind: str, ending: str) -> None:
    """In a tenth of the size if not --full."""
    size = 1000 * gigapixels * (1 if full else 0.1)
    photo, target = mosaic(tmp_path, size, kind), tmp_path / f"out.{ending}"
    what = f"{size:g} MP, {kind} to {N_COLORS} colors, {ending}"
    peak, seconds = peak_of([sys.executable, "-c", MEASURED, photo, target, "1GB"])
    report(f"{what}: memory at peak, GB, of 1 GB allowed", peak, 1, 0.6, f"{seconds:.1f} s with imports")
    if ending == "png":
        start = time.perf_counter()
        gpuquant.quantize_file(photo, target, N_COLORS, device="cpu", memory="1GB", max_pixels=NO_LIMIT)
        ours = time.perf_counter() - start
        codecs = codec_seconds(photo, target, tmp_path / "coded.png")
        beside = f"{ours:.1f} s; codecs {codecs:.1f} s"
        report(f"{what}: time / that of the codecs alone", ours / codecs, 2.5, 1.6, beside)


def test_memory_of_a_batch(report: Report, tmp_path: Path) -> None:
    photos = sorted(PHOTOS.glob("large/*.jpg"))
    if not photos:
        pytest.skip("the large photographs are not there")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        for photo in photos:
            (folder / f"{photo.stem}-{number}.jpg").symlink_to(photo)
    command = [sys.executable, "-m", "gpuquant", "batch", folder, "-o", tmp_path / "out", "-k", N_COLORS, "--quiet"]
    peak, seconds = peak_of([*command, "--jobs", 2, "--device", "cpu"])
    assert len(list((tmp_path / "out").iterdir())) == 8 * len(photos)
    report(f"{8 * len(photos)} photos in two jobs: memory at peak, GB", peak, 0.8, 0.5, f"{seconds:.1f} s")


@pytest.mark.parametrize("n_colors", [16, 256])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_saving_beside_pillow(report: Report, in_turn: InTurn, tmp_path: Path, n_colors: int, ending: str) -> None:
    """The same result by `save`, and by Pillow with its own settings."""
    photos = sorted(PHOTOS.glob("large/*.jpg"))
    if not photos:
        pytest.skip("the large photographs are not there")
    result = gpuquant.quantize(photos[0], n_colors, device="cpu")
    ours, pillows = tmp_path / f"ours.{ending}", tmp_path / f"pillows.{ending}"
    options = {"compression": "tiff_adobe_deflate"} if ending == "tif" else {}
    seconds, _ = in_turn(
        {"ours": lambda: result.save(ours), "pillow": lambda: result.to_image().save(pillows, **options)}, ROUNDS
    )
    with Image.open(ours) as one, Image.open(pillows) as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    what, sizes = (
        f"saving {photos[0].stem} in {n_colors} colors, {ending}",
        [ours.stat().st_size, pillows.stat().st_size],
    )
    beside = f"{seconds['ours']:.2f} s; Pillow {seconds['pillow']:.2f} s"
    report(f"{what}: time / Pillow's", seconds["ours"] / seconds["pillow"], 1, 0.5, beside)
    report(f"{what}: bytes / Pillow's", sizes[0] / sizes[1], 1.1, 1, f"{sizes[0] / 1e6:.2f} MB")

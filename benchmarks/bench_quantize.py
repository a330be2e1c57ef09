"""quantize() beside other quantizers: time, memory, cold start, error. Results are checked: a fast wrong answer fails.

Run: scripts/setup.sh bench, then pytest benchmarks/bench_quantize.py [--sizes 1MP,13MP] [--photos FOLDER]
(half an hour; --full: also what is slow on many pixels, and every peer on your photos)
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from comparing import BEGUN, MAIN_PIXELS, MEASURED, ROUNDS, check, compare
from conftest import (
    N_CHECKED,
    InTurn,
    Keep,
    Pixels,
    Report,
    Tell,
    check_quantized,
    large_photo,
    mse_of,
    named_photo,
    seconds_of,
    sized_photo,
)
from PIL import Image
from saving import stored_tables

import gpuquant
from gpuquant.arguments import MAX_PIXELS
from gpuquant.bench.measuring import Measurement, measure_apart, read_pixels, sample_photo, stored
from gpuquant.bench.peers import Quantizer, quantizers
from gpuquant.bench.quantized import Quantized
from gpuquant.colors.spaces import OKLAB
from gpuquant.images.reading import read_photo

MANY_ROUNDS = 21
FEW_PIXELS = 1e6  # up to which there are many rounds: each takes less than a second
QUICK = ("gpuquant", "scikit-learn, fit", "faiss Kmeans", "pngquant", "ffmpeg", "GDAL", "Pillow MED", "Pillow FAST")


@dataclass(frozen=True)
class AfterNumba:
    """A quantizer that imports Numba first, however few the pixels: its memory is then that of imports."""

    run: Callable[[Pixels, int], Quantized]

    def __call__(self, pixels: Pixels, n_colors: int) -> Quantized:
        if find_spec("numba"):
            import numba  # noqa: F401
        return self.run(pixels, n_colors)


def quick(device: str) -> list[Quantizer]:
    """Those that take seconds for 13.7 megapixels, and of ours the default and the fast effort."""
    some = [one for one in quantizers(device) if one.name.startswith(QUICK)]
    return [one for one in some if "best" not in one.name and "all points" not in one.name]


def measured_before(request: pytest.FixtureRequest, device: str, n_colors: int) -> list[Measurement]:
    """The rows of other sizes of china.jpg, as --save FOLDER has them from before and from this run."""
    folder: Path | None = request.config.getoption("--save")
    tables = stored_tables(folder / f"quantize-{device}.json") if folder else []
    some = [one for one in tables if (one["kind"], one["n_colors"]) == ("peers", n_colors)]
    return [Measurement(**row) for one in some for row in one["measurements"]]


@pytest.mark.parametrize("n_colors", [8, 256])
def test_peers(request: pytest.FixtureRequest, keep: Keep, device: str, size: str, n_colors: int, full: bool) -> None:
    if n_colors == 256 and float(size.removesuffix("MP")) * 1e6 > MAIN_PIXELS and not full:
        pytest.skip("more than 13.7 megapixels with 256 colors: --full")
    pixels = sized_photo(size)
    earlier = [] if full else measured_before(request, device, n_colors)
    found = compare(pixels, n_colors, quantizers(device), MEASURED, earlier)
    check(found, n_colors)
    keep(found, device, kind="peers", photo=f"china.jpg, {size}", n_colors=n_colors)


@pytest.mark.parametrize("n_colors", [8, 256])
def test_photos(keep: Keep, device: str, photo: Path, n_colors: int, full: bool) -> None:
    pixels = read_pixels(photo, None, MAX_PIXELS)
    some = [one for one in quantizers(device) if one.name.startswith((*QUICK, BEGUN))]
    found = compare(pixels, n_colors, quantizers(device) if full else some, MEASURED)
    check(found, n_colors)
    keep(found, device, kind="photos", photo=photo.name, n_colors=n_colors)


@pytest.mark.parametrize("n_colors", [2, 64])
def test_more_numbers_of_colors(keep: Keep, device: str, n_colors: int) -> None:
    """The plot against K has these, and the 8 and 256 colors of the peers' tables."""
    found = compare(sized_photo("13MP"), n_colors, quick(device), MEASURED)
    check(found, n_colors)
    keep(found, device, kind="colors", photo="china.jpg, 13MP", n_colors=n_colors)


def test_files(tell: Tell, tmp_path: Path) -> None:
    """Time what stands around the quantizer: decoding and encoding, and a new process for one photo."""
    Image.fromarray(large_photo("china_13mp")).save(tmp_path / "photo.jpg", quality=92)
    photo, out, other = tmp_path / "photo.jpg", tmp_path / "out.png", tmp_path / "other.png"
    result = gpuquant.quantize(photo, 8)
    picture = result.to_image()
    assert picture.mode == "P"
    files = {"save() as PNG": out, "Pillow encodes the same picture": other}
    parts: dict[str, Callable[[], object]] = {
        "Pillow decodes": lambda: np.asarray(Image.open(photo)),
        "read_photo": lambda: read_photo(photo).in_srgb(),
        "quantize() of the file": lambda: gpuquant.quantize(photo, 8),
        "save() as PNG": lambda: result.save(out),
        "Pillow encodes the same picture": lambda: picture.save(other),
        "gpuquant quantize photo.jpg out.png, a new process": lambda: subprocess.run(
            [sys.executable, "-m", "gpuquant", "quantize", photo, out, "-k", "8", "--force"],
            check=True,
            capture_output=True,
        ),
    }
    for name, part in parts.items():
        part()
        times = [seconds_of(part) for _ in range(ROUNDS)]
        beside = f"{min(times):.2f}-{max(times):.2f} s, {ROUNDS} runs"
        if name in files:
            beside = f"{beside}, {files[name].stat().st_size / 1e6:.2f} MB"
        tell(f"a JPEG of 13.7 megapixels, K = 8: {name}, s", statistics.median(times), beside)
    with Image.open(out) as written, Image.open(photo) as read:
        assert written.size == read.size


MEDIAN_CUT = {  # photo, K: reach and aim of the time / MEDIANCUT's
    ("bryggen_17mp", 8): (0.09, 0.06),
    ("bryggen_17mp", 256): (0.2, 0.12),
    ("mr_lee_13mp", 8): (0.055, 0.04),
    ("mr_lee_13mp", 256): (0.12, 0.08),
    ("china_13mp", 8): (0.1, 0.07),
    ("china_13mp", 256): (0.25, 0.15),
    ("kodim05", 16): (0.35, 0.1),
    ("kodim05", 256): (1, 0.3),
}
OCTREE = {("bryggen_17mp", 8): (0.6, 0.4), ("mr_lee_13mp", 8): (0.4, 0.3)}  # the same of the time / FASTOCTREE's


@pytest.mark.parametrize(("name", "n_colors"), MEDIAN_CUT)
def test_time_against_pillow(report: Report, in_turn: InTurn, name: str, n_colors: int) -> None:
    pixels = named_photo(name)
    image = Image.fromarray(pixels)
    seconds, results = in_turn(
        {
            "MEDIANCUT": lambda: image.quantize(n_colors, method=Image.Quantize.MEDIANCUT),
            "FASTOCTREE": lambda: image.quantize(n_colors, method=Image.Quantize.FASTOCTREE),
            "ours": lambda: gpuquant.quantize(pixels, n_colors),
        },
        ROUNDS if pixels.size > 3 * FEW_PIXELS else MANY_ROUNDS,
    )
    result = results["ours"]
    check_quantized(pixels, result, n_colors)
    assert result.converged
    other = mse_of(pixels, np.asarray(results["MEDIANCUT"].convert("RGB")))
    assert result.mse < other

    beside = (
        f"ours {seconds['ours'] * 1000:.0f} ms, MSE {result.mse:.2f}; MEDIANCUT {seconds['MEDIANCUT'] * 1000:.0f} ms, "
        f"MSE {other:.2f}; FASTOCTREE {seconds['FASTOCTREE'] * 1000:.0f} ms"
    )
    what = f"{name}, K = {n_colors}"
    report(f"time / MEDIANCUT: {what}", seconds["ours"] / seconds["MEDIANCUT"], *MEDIAN_CUT[name, n_colors], beside)
    if goal := OCTREE.get((name, n_colors)):
        beside = f"ours {seconds['ours'] * 1000:.0f} ms; FASTOCTREE {seconds['FASTOCTREE'] * 1000:.0f} ms"
        report(f"time / FASTOCTREE: {what}", seconds["ours"] / seconds["FASTOCTREE"], *goal, beside)


@pytest.mark.parametrize(("n_colors", "reach", "aim"), [(16, 1, 0.5), (256, 3, 1.5)])
def test_time_of_noise(report: Report, in_turn: InTurn, n_colors: int, reach: float, aim: float) -> None:
    """Hardly two pixels share a color, so counting saves nothing."""
    pixels = np.random.RandomState(0).randint(0, 256, (2000, 3000, 3), np.uint8)
    seconds, results = in_turn({"ours": lambda: gpuquant.quantize(pixels, n_colors)}, ROUNDS)
    check_quantized(pixels, results["ours"], n_colors)
    codes = pixels.reshape(-1, 3).astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    beside = f"{len(np.unique(codes)) / 1e6:.1f} million colors, MSE {results['ours'].mse:.2f}"
    report(f"uniform noise, 6 megapixels, K = {n_colors}: seconds", seconds["ours"], reach, aim, beside)


def _with_alpha(name: str, kind: str) -> Pixels:  # [H, W, 4]
    """A photo that fades out towards its corners, or with noise as alpha."""
    pixels = large_photo(name)
    height, width = pixels.shape[:2]
    if kind == "noise":
        alpha = np.random.RandomState(0).randint(0, 256, (height, width)).astype(np.uint8)
    else:
        rows, columns = np.ogrid[:height, :width]
        radius = np.hypot(rows / height - 0.5, columns / width - 0.5)
        alpha = (255 * (1.6 - 2.4 * radius)).clip(0, 255).astype(np.uint8)
    return np.dstack([pixels, alpha])


def _check_nearest(pixels: Pixels, result: gpuquant.QuantizedImage, n_colors: int, color_space: str) -> None:
    """Fail unless K entries are used, the MSE is the picture's, and labels are the nearest entries on a sample."""
    rows, labels = pixels.reshape(-1, pixels.shape[2]), np.asarray(result.labels).reshape(-1)
    assert len(result.palette.rows) == n_colors
    np.testing.assert_array_equal(np.asarray(result.counts), np.bincount(labels, minlength=n_colors))
    assert np.asarray(result.counts).min() > 0
    total = 0.0
    for part in np.array_split(np.arange(len(rows)), 1 + len(rows) // (1 << 20)):
        seen, written = (_seen(some, "srgb") for some in (rows[part], np.asarray(result.palette.rows)[labels[part]]))
        total += float(np.square(seen - written).sum())
    assert result.mse == pytest.approx(total / len(rows), rel=1e-9)
    sample = np.random.RandomState(0).choice(len(rows), N_CHECKED, replace=False)
    points, entries = _seen(rows[sample], color_space), _seen(np.asarray(result.palette.rows), color_space)
    apart = np.square(points[:, None] - entries).sum(axis=2)
    found = apart[np.arange(len(sample)), labels[sample]]
    np.testing.assert_allclose(np.sqrt(found), np.sqrt(apart.min(axis=1)), atol=0.02)  # of 255 levels


def _seen(colors: Pixels, color_space: str) -> npt.NDArray[np.float64]:
    """Colors as points, weighted by alpha."""
    if color_space == "oklab":
        return OKLAB.enter(torch.from_numpy(np.ascontiguousarray(colors))).numpy()
    points = colors.astype(np.float64)
    if points.shape[1] == 4:
        points[:, :3] *= points[:, 3:] / 255
    return points


SPACES: dict[tuple[str, int], tuple[float, float]] = {  # kind, K: reach and aim, seconds
    ("oklab", 256): (1.2, 0.5),
    ("fading", 256): (3, 1),
    ("noise", 16): (3, 1.5),
    ("noise", 256): (6, 3),
}


@pytest.mark.parametrize(("kind", "n_colors"), SPACES)
def test_time_in_other_spaces(report: Report, in_turn: InTurn, kind: str, n_colors: int) -> None:
    """Oklab, and alpha: of the noise hardly two pixels are the same."""
    color_space = "oklab" if kind == "oklab" else "srgb"
    pixels = large_photo("lake_atitlan_10mp")
    if kind != "oklab":
        pixels = _with_alpha("mr_lee_13mp" if kind == "fading" else "lake_atitlan_10mp", kind)
    seconds, results = in_turn({"ours": lambda: gpuquant.quantize(pixels, n_colors, color_space=color_space)}, ROUNDS)
    _check_nearest(pixels, results["ours"], n_colors, color_space)
    what = {"oklab": "Oklab", "fading": "a photo that fades out", "noise": "noise as alpha"}[kind]
    beside = f"{pixels.shape[0] * pixels.shape[1] / 1e6:.0f} megapixels, MSE {results['ours'].mse:.2f}"
    report(f"{what}, K = {n_colors}: seconds", seconds["ours"], *SPACES[kind, n_colors], beside)


def test_time_of_few_pixels(report: Report, in_turn: InTurn) -> None:
    pixels = sample_photo(100, 100)
    image = Image.fromarray(pixels)
    seconds, results = in_turn(
        {
            "MEDIANCUT": lambda: image.quantize(16, method=Image.Quantize.MEDIANCUT),
            "ours": lambda: gpuquant.quantize(pixels, 16),
        },
        3 * MANY_ROUNDS,
    )
    check_quantized(pixels, results["ours"], 16)
    beside = f"{len(np.unique(pixels.reshape(-1, 3), axis=0))} colors; MEDIANCUT {1000 * seconds['MEDIANCUT']:.2f} ms"
    report("100 x 100 pixels, K = 16: ms", 1000 * seconds["ours"], 5, 2, beside)


PLAIN = """
import hashlib, statistics, sys, time, warnings
if sys.argv[3] == "plain":
    sys.modules["numba"] = None
    warnings.simplefilter("ignore")
import numpy as np, gpuquant
pixels, times = np.load(sys.argv[1]), []
for _ in range(3):
    start = time.process_time()
    result = gpuquant.quantize(pixels, int(sys.argv[2]), device="cpu")
    times.append(time.process_time() - start)
digest = hashlib.sha256(result.palette.rows.tobytes() + np.asarray(result.labels).tobytes()).hexdigest()
print(digest, statistics.median(times[1:]))
"""


@pytest.mark.parametrize("n_colors", [16, 256])
@pytest.mark.parametrize("name", ["bryggen_17mp", "mr_lee_13mp", "china_13mp"])
def test_time_without_numba(report: Report, tmp_path: Path, name: str, n_colors: int) -> None:
    np.save(tmp_path / "pixels.npy", large_photo(name))
    found = []
    for kind in ("plain", "compiled"):
        command = [sys.executable, "-c", PLAIN, str(tmp_path / "pixels.npy"), str(n_colors), kind]
        found.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    (plain, plain_seconds), (compiled, seconds) = found
    assert plain == compiled
    what = f"{name}, K = {n_colors}, Numba hidden: CPU time / that of compiled loops"
    report(what, float(plain_seconds) / float(seconds), 10, 7, f"{float(plain_seconds):.2f} s")


@pytest.mark.parametrize("n_colors", [8, 256])
@pytest.mark.parametrize("name", ["mr_lee_13mp", "china_13mp"])
def test_memory(report: Report, name: str, n_colors: int) -> None:
    pixels = large_photo(name)
    ours = quantizers("cpu")[0]
    with stored(pixels) as file:
        found = measure_apart(replace(ours, run=AfterNumba(ours.run)), file, n_colors, rounds=1, most_seconds=60)
    if found.peak_megabytes is None:
        pytest.skip("needs Linux's peak memory counter")
    assert found.n_colors == n_colors
    what = f"{name}, K = {n_colors}: peak MB above pixels and imports"
    report(what, found.peak_megabytes, 180, 150, f"pixels {pixels.nbytes / 1e6:.0f} MB")


def test_help(report: Report) -> None:
    command = [sys.executable, "-m", "gpuquant", "--help"]
    times = [seconds_of(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(7)]
    report("gpuquant --help, s", statistics.median(times), 0.5, 0.2, "a new process each")

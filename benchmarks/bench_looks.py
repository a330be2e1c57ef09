"""Looks of a result with dithering and with Oklab, and what they cost.

MSE tells neither: both raise it. From a distance the eye sees means, so results are compared with the photo after a
Gaussian blur, by SSIM (Wang et al. 2004); and colors are compared by CIEDE2000, which was fitted to what people see
and shares nothing with Oklab. NVIDIA's FLIP (Andersson et al. 2020) is fitted to what people see when two pictures take
turns, and is taken from the files as written. Run: scripts/setup.sh bench, then pytest benchmarks/bench_looks.py
"""

import statistics
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Pixels, Report, Tell, kodak, large_photo, mse_of
from PIL import Image
from scipy.ndimage import gaussian_filter

import gpuquant
from gpuquant.bench.measuring import missing
from gpuquant.bench.programs import ffmpeg, plain_png, pngquant_program, run_program

BLUR = 1.5  # standard deviation in pixels
ROUNDS = 3
Floats = npt.NDArray[np.float64]


def blurred(pixels: Pixels) -> Floats:  # [H, W, 3] in 0..1
    found: Floats = gaussian_filter(pixels / 255, (BLUR, BLUR, 0))
    return found


def unlike(photo: Pixels, result: Pixels) -> float:
    """1 - SSIM after a blur."""
    metrics = pytest.importorskip("skimage.metrics")
    return 1 - float(metrics.structural_similarity(blurred(photo), blurred(result), channel_axis=2, data_range=1))


def color_difference(photo: Pixels, result: Pixels) -> float:
    """The mean CIEDE2000 of pixels."""
    color = pytest.importorskip("skimage.color")
    return float(color.deltaE_ciede2000(color.rgb2lab(photo), color.rgb2lab(result)).mean())


@cache
def plain(name: str, n_colors: int) -> Pixels:
    return gpuquant.quantize(kodak()[name], n_colors).to_array()


def means(measure: Callable[[Pixels, Pixels], float], n_colors: int, **settings: Any) -> float:
    """The mean over photos of a measure, as a ratio to that of plain k-means."""
    ratios = []
    for name, photo in list(kodak().items())[::2]:
        other = gpuquant.quantize(photo, n_colors, **settings).to_array()
        ratios.append(measure(photo, other) / measure(photo, plain(name, n_colors)))
    return float(np.mean(ratios))


@pytest.mark.parametrize("method", ["floyd-steinberg", "blue-noise", "bayer"])
def test_dithering_after_a_blur(report: Report, method: str) -> None:
    ratios = {n_colors: means(unlike, n_colors, dither=method) for n_colors in (8, 16, 64)}
    beside = ", ".join(f"K = {n_colors}: {ratio:.3f}" for n_colors, ratio in ratios.items())
    worst = max(ratios.values())
    assert worst < 1
    report(f"dithering, {method}, Kodak: 1 - SSIM after a blur / that without, largest", worst, 1, 0.9, beside)


def test_oklab_by_ciede2000(report: Report) -> None:
    ratios = {n_colors: means(color_difference, n_colors, color_space="oklab") for n_colors in (8, 16, 64)}
    beside = ", ".join(f"K = {n_colors}: {ratio:.3f}" for n_colors, ratio in ratios.items())
    worst = max(ratios.values())
    assert worst < 1
    report("Oklab, Kodak: mean CIEDE2000 / that of srgb, largest", worst, 1, 0.9, beside)


def check_dithered(photo: Pixels, result: gpuquant.QuantizedImage, method: str) -> None:
    """Fail unless figures are those of the picture, and means of squares are nearer to the photo than without."""
    assert int(result.counts.sum()) == photo.shape[0] * photo.shape[1]
    written = result.to_array()
    assert result.mse == pytest.approx(mse_of(photo, written), rel=1e-9)
    if method != "none":
        apart = (written[:512, :512].astype(float) - photo[:512, :512]).reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
        assert np.square(apart).sum(axis=2).mean() < 0.5 * result.mse


@pytest.mark.parametrize("name", ["mr_lee_13mp", "bryggen_17mp", "china_13mp"])
def test_time_of_dithering(report: Report, name: str) -> None:
    photo = large_photo(name)
    seconds: dict[str, list[float]] = {"none": [], "blue-noise": [], "bayer": [], "floyd-steinberg": []}
    for _ in range(ROUNDS + 1):
        for method, times in seconds.items():
            result = gpuquant.quantize(photo, 16, dither=method)
            times.append(sum(result.seconds.values()))
            check_dithered(photo, result, method)
    medians = {method: statistics.median(times[1:]) for method, times in seconds.items()}
    beside = f"none {1000 * medians['none']:.0f} ms"
    for method in ("blue-noise", "bayer"):
        ratio = medians[method] / medians["none"]
        report(f"dithering, {method}, {name}, K = 16: time of quantize / that without", ratio, 1.5, 1.3, beside)
    above = medians["floyd-steinberg"] - medians["none"]
    report(f"dithering, floyd-steinberg, {name}, K = 16: seconds above those without", above, 0.3, 0.12, beside)


def test_a_small_accent(report: Report) -> None:
    """The red seal has 1 pixel in 950, and an entry from a weighting of 0.75 on."""
    photo = large_photo("mr_lee_13mp")
    is_red = (photo[..., 0].astype(int) - photo[..., 1:].max(axis=2)) > 80
    even, spread = (gpuquant.quantize(photo, 8, weighting=weighting) for weighting in (1, 0.75))
    errors = [
        np.square(photo[is_red] - one.to_array()[is_red].astype(float)).sum(axis=1).mean() for one in (even, spread)
    ]
    redness = [int((np.ptp(np.asarray(one.palette.colors, int), axis=1)).max()) for one in (even, spread)]
    assert redness[0] < 60 < redness[1]
    assert errors[1] < errors[0]
    beside = f"all pixels {spread.mse / even.mse:.2f} times, red ones are {is_red.mean():.3%}"
    report("weighting 0.75, mr_lee_13mp, K = 8: MSE of red pixels / that at 1", errors[1] / errors[0], 1, 0.2, beside)


Write = Callable[[Pixels, int, Path], None]  # a photo in K colors to a PNG


def flip(photo: Pixels, result: Pixels) -> float:
    """The mean of FLIP as it comes: at 67 pixels a degree, a screen of 0.7 m seen from 0.7 m."""
    evaluator = pytest.importorskip("flip_evaluator")
    levels = ((pixels / 255).astype(np.float32) for pixels in (photo, result))
    return float(evaluator.evaluate(*levels, "LDR", applyMagma=False)[1])


def by_gpuquant(photo: Pixels, n_colors: int, target: Path, **settings: Any) -> None:
    gpuquant.quantize(photo, n_colors, **settings).save(target)


def by_pngquant(photo: Pixels, n_colors: int, target: Path) -> None:
    """At its slowest, dithered as it does if not told otherwise."""
    given = target.with_name("given.png")
    given.write_bytes(plain_png(photo))
    run_program([pngquant_program(), "--speed", "1", "--output", target, str(n_colors), given])


def by_ffmpeg(photo: Pixels, n_colors: int, target: Path) -> None:
    found = ffmpeg(photo, n_colors, "floyd_steinberg")
    used, labels = np.unique(found.labels, return_inverse=True)
    picture = Image.fromarray(labels.reshape(photo.shape[:2]).astype(np.uint8), "P")
    picture.putpalette(found.palette[used].tobytes())
    picture.save(target)


def by_median_cut(photo: Pixels, n_colors: int, target: Path) -> None:
    image = Image.fromarray(photo)
    palette = image.quantize(n_colors, method=Image.Quantize.MEDIANCUT)
    image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(target)


OURS: dict[str, dict[str, Any]] = {
    "Oklab, Floyd-Steinberg": {"color_space": "oklab", "dither": "floyd-steinberg"},
    "sRGB, Floyd-Steinberg": {"dither": "floyd-steinberg"},
    "Oklab, blue noise": {"color_space": "oklab", "dither": "blue-noise"},
    "sRGB, blue noise": {"dither": "blue-noise"},
    "Oklab": {"color_space": "oklab"},
    "sRGB": {},
}
WAYS: dict[str, tuple[str, Write]] = {  # the package that each needs
    **{f"gpuquant, {name}": ("gpuquant", partial(by_gpuquant, **settings)) for name, settings in OURS.items()},
    "pngquant --speed 1": ("pngquant-cli", by_pngquant),
    "ffmpeg palettegen, Floyd-Steinberg": ("imageio-ffmpeg", by_ffmpeg),
    "Pillow MEDIANCUT, Floyd-Steinberg": ("pillow", by_median_cut),
}


@pytest.mark.parametrize("n_colors", [16, 64, 256])
def test_perceived_error(tell: Tell, tmp_path: Path, n_colors: int) -> None:
    """FLIP, MSE and bytes of the files that each way writes of every second Kodak photograph."""
    photos = list(kodak().values())[::2]
    means: dict[str, float] = {}
    for name, (package, write) in WAYS.items():
        if missing(package):
            continue
        figures = []
        for number, photo in enumerate(photos):
            target = tmp_path / f"{number}.png"
            target.unlink(missing_ok=True)
            write(photo, n_colors, target)
            with Image.open(target) as written:
                result = np.array(written.convert("RGB"))
            assert result.shape == photo.shape
            assert len(np.unique(result.reshape(-1, 3), axis=0)) <= n_colors
            figures.append((flip(photo, result), mse_of(photo, result), target.stat().st_size / 1000))
        means[name], mse, kilobytes = np.mean(figures, axis=0)
        what = f"FLIP, Kodak, {len(photos)} photos, K = {n_colors}, {name}"
        tell(what, means[name], f"MSE {mse:.0f}, {kilobytes:.0f} KB")
    assert means["gpuquant, Oklab, Floyd-Steinberg"] < means["gpuquant, sRGB"]


E_INK = np.array(  # black, white, green, blue, red, yellow and orange: the inks of a 7-color display
    [[0, 0, 0], [255, 255, 255], [0, 255, 0], [0, 0, 255], [255, 0, 0], [255, 255, 0], [255, 128, 0]], np.uint8
)
FAR = 4  # standard deviation of a wide blur, in pixels
GIVEN = {  # photo: the RMS after a wide blur, to be reached
    "floyd-steinberg": {"kodim15": 1.9, "kodim23": 1.2, "bryggen_17mp": 1.2},
    "blue-noise": {"kodim15": 2.9, "kodim23": 2.3, "bryggen_17mp": 2.2},
    "bayer": {"kodim15": 3.2, "kodim23": 2.6, "bryggen_17mp": 2.5},
}


@cache
def screen_photo(name: str) -> Pixels:
    if name.startswith("kodim"):
        return kodak()[name]
    return np.array(Image.fromarray(large_photo(name)).resize((1377, 774), Image.Resampling.LANCZOS))


def rms_after_blur(photo: Pixels, result: Pixels) -> float:
    """The root of the mean over pixels and channels of squared differences after a wide blur, in levels."""
    apart = gaussian_filter(result.astype(np.float64) - photo, (FAR, FAR, 0))
    return float(np.sqrt(np.square(apart).mean()))


def by_pillow(photo: Pixels) -> Pixels:
    palette = Image.new("P", (1, 1))
    palette.putpalette(E_INK.tobytes())
    return np.array(Image.fromarray(photo).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))


@pytest.mark.parametrize("method", GIVEN)
@pytest.mark.parametrize("name", ["kodim15", "kodim23", "bryggen_17mp"])
def test_a_given_palette_after_a_wide_blur(report: Report, method: str, name: str) -> None:
    photo = screen_photo(name)
    found = gpuquant.apply_palette(photo, gpuquant.Palette(E_INK), dither=method).to_array()
    beside = f"Pillow's Floyd-Steinberg {rms_after_blur(photo, by_pillow(photo)):.2f}"
    reach = GIVEN[method][name]
    report(
        f"dithering, {method}, {name}, 7 inks: RMS after a wide blur",
        rms_after_blur(photo, found),
        reach,
        reach,
        beside,
    )


@pytest.mark.parametrize("method", GIVEN)
def test_means_of_flat_areas(report: Report, method: str) -> None:
    """Colors in the hull of the palette: each is a mixture of its entries."""
    random = np.random.RandomState(0)
    shares = random.dirichlet(np.ones(len(E_INK)), 60)
    colors = np.concatenate([(shares @ E_INK).round(), np.repeat(np.arange(0, 256, 8)[:, None], 3, axis=1)])
    worst = 0.0
    for color in colors.astype(np.uint8):
        flat = np.broadcast_to(color, (128, 128, 3))
        found = gpuquant.apply_palette(np.ascontiguousarray(flat), gpuquant.Palette(E_INK), dither=method).to_array()
        worst = max(worst, float(np.abs(found.mean(axis=(0, 1)) - color).max()))
    report(
        f"dithering, {method}, 7 inks: levels that the mean of a flat area is off, largest", worst, 2, 1, "128 x 128"
    )

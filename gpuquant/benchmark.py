"""gpuquant beside other quantisers on one photo: the time and memory that each takes, and the error of what it gives.

Every peer is asked in the way its own documentation shows, with all threads that it takes by itself. What is timed
begins with pixels in memory and ends with a palette and one label for each pixel. Errors are those of the result as it
would be written: 8-bit entries, and the labels that the peer gave.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpuquant.devices import resolve_device
from gpuquant.image_reading import read_photo
from gpuquant.metrics import psnr
from gpuquant.quantization import quantize

Pixels = npt.NDArray[np.uint8]
Labelled = tuple[npt.NDArray[Any], npt.NDArray[Any]]  # palette [K, 3] in levels; labels [H, W] or [N]

WARM_UP = 64  # the side of what each peer works on first: imports and thread pools are not timed
SAMPLE = 1000  # pixels that scikit-learn's example of colour quantisation fits to
ROWS_AT_ONCE = 256
PROC = Path("/proc/self")


@dataclass(frozen=True)
class Quantizer:
    """One way to quantise a photo."""

    name: str
    package: str  # which pip installs
    run: Callable[[Pixels, int], Labelled]  # [H, W, 3], K


@dataclass(frozen=True)
class Measurement:
    """What a quantiser took and gave."""

    name: str
    version: str
    seconds: tuple[float, ...]  # of each run; empty where it could not run
    n_pixels: int
    n_colors: int  # that the result has
    mse: float  # mean over pixels of the sum over R, G, B of squared 8-bit differences
    peak_megabytes: float | None  # above what was there before; None where the system does not tell
    problem: str = ""

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def megapixels_per_second(self) -> float:
        return self.n_pixels / 1e6 / self.median

    @property
    def psnr(self) -> float:
        """In dB."""
        return psnr(self.mse)


def sample_photo(width: int, height: int) -> Pixels:  # [H, W, 3]
    """scikit-learn's china.jpg enlarged, with the noise of a sensor (2 levels, standard deviation); always the same."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image("china.jpg"))
    large = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
    noise = np.random.RandomState(0).normal(0, 2, large.shape)
    return (large + noise).round().clip(0, 255).astype(np.uint8)


def read_pixels(path: Path, megapixels: float | None, max_pixels: int) -> Pixels:  # [H, W, 3]
    """A photo in sRGB, what is transparent on white, made smaller where it has more megapixels than that."""
    from PIL import Image

    picture = Image.fromarray(read_photo(path, max_pixels=max_pixels).in_srgb())
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    if megapixels is not None and picture.width * picture.height > megapixels * 1e6:
        factor = (picture.width * picture.height / (megapixels * 1e6)) ** 0.5
        picture = picture.resize((max(1, round(picture.width / factor)), max(1, round(picture.height / factor))))
    return np.asarray(picture)


def measure(
    quantizer: Quantizer,
    photo: Pixels,
    n_colors: int,
    *,
    rounds: int,  # at most
    most_seconds: float,  # after which it is not run again
) -> Measurement:
    """Run a quantiser some times, and check what it gives; one that is missing or fails becomes a problem."""
    seconds: list[float] = []
    try:
        found = version(quantizer.package)
        quantizer.run(photo[:WARM_UP, :WARM_UP], min(n_colors, 4))
        before = _start_of_peak()
        while len(seconds) < rounds and sum(seconds) < most_seconds:
            start = time.perf_counter()
            palette, labels = quantizer.run(photo, n_colors)
            seconds.append(time.perf_counter() - start)
        peak = None if before is None else (_memory("VmHWM") - before) / 1000
        palette, labels = _checked(palette, labels, photo, n_colors)
    except PackageNotFoundError:
        return _problem(quantizer, photo, f"not installed: pip install {quantizer.package}")
    except Exception as error:  # of any library: the others go on
        return _problem(quantizer, photo, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    used = len(np.unique(palette[np.unique(labels)], axis=0))
    mse = squared_error(photo, palette, labels) / labels.size
    return Measurement(quantizer.name, found, tuple(seconds), labels.size, used, mse, peak)


def squared_error(photo: Pixels, palette: Pixels, labels: npt.NDArray[Any]) -> int:
    """The sum of squared differences between a photo and its labels' entries."""
    total = 0
    for top in range(0, len(photo), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        total += int(np.square(photo[rows].astype(np.int64) - palette[labels[rows]]).sum())
    return total


def quantizers(device: str = "auto") -> list[Quantizer]:
    """gpuquant, and every peer, installed or not."""
    target = str(resolve_device(device))

    def ours(effort: str) -> Callable[[Pixels, int], Labelled]:
        def run(photo: Pixels, n_colors: int) -> Labelled:
            result = quantize(photo, n_colors, effort=effort, device=target)
            return result.palette.rows, np.asarray(result.labels)

        return run

    where = "" if target == "cpu" else f", {target}"
    return [
        Quantizer(f"gpuquant{where}", "gpuquant", ours("default")),
        Quantizer(f"gpuquant, effort=fast{where}", "gpuquant", ours("fast")),
        Quantizer(f"gpuquant, effort=best{where}", "gpuquant", ours("best")),
        Quantizer("scikit-learn KMeans(n_init=1)", "scikit-learn", _scikit_learn),
        Quantizer("scikit-learn MiniBatchKMeans", "scikit-learn", _mini_batches),
        Quantizer(f"scikit-learn, fit to {SAMPLE} pixels", "scikit-learn", _sample),
        Quantizer("scikit-learn-intelex KMeans(n_init=1)", "scikit-learn-intelex", _intelex),
        Quantizer("faiss Kmeans, all points", "faiss-cpu", _faiss),
        Quantizer("OpenCV kmeans, 10 iterations", "opencv-python-headless", _opencv),
        Quantizer("libimagequant", "imagequant", _imagequant),
        Quantizer("Pillow MEDIANCUT", "pillow", _pillow("MEDIANCUT")),
        Quantizer("Pillow MAXCOVERAGE", "pillow", _pillow("MAXCOVERAGE")),
        Quantizer("Pillow FASTOCTREE", "pillow", _pillow("FASTOCTREE")),
    ]


def _scikit_learn(photo: Pixels, n_colors: int) -> Labelled:
    from sklearn.cluster import KMeans

    fit = KMeans(n_colors, n_init=1, random_state=0).fit(_points(photo))
    return fit.cluster_centers_, fit.labels_


def _mini_batches(photo: Pixels, n_colors: int) -> Labelled:
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(n_colors, n_init=1, random_state=0).fit(_points(photo))
    return fit.cluster_centers_, fit.labels_


def _sample(photo: Pixels, n_colors: int) -> Labelled:
    """As scikit-learn's example "Color Quantization using K-Means" does it."""
    from sklearn.cluster import KMeans
    from sklearn.utils import shuffle

    points = _points(photo)
    fit = KMeans(n_colors, random_state=0).fit(shuffle(points, random_state=0, n_samples=max(SAMPLE, n_colors)))
    return fit.cluster_centers_, fit.predict(points)


def _intelex(photo: Pixels, n_colors: int) -> Labelled:
    from sklearnex.cluster import KMeans

    fit = KMeans(n_colors, n_init=1, random_state=0).fit(_points(photo))
    return fit.cluster_centers_, fit.labels_


def _faiss(photo: Pixels, n_colors: int) -> Labelled:
    import faiss

    points = _points(photo)
    fit: Any = faiss.Kmeans(
        3, n_colors, seed=0, max_points_per_centroid=len(points)
    )  # by default it takes 256 for each
    fit.train(points)
    return fit.centroids, fit.index.search(points, 1)[1][:, 0]


def _opencv(photo: Pixels, n_colors: int) -> Labelled:
    import cv2

    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    labels: Any = None
    _, labels, centers = cv2.kmeans(_points(photo), n_colors, labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    return centers, labels[:, 0]


def _imagequant(photo: Pixels, n_colors: int) -> Labelled:
    import imagequant

    height, width, _ = photo.shape
    opaque = np.dstack([photo, np.full((height, width), 255, np.uint8)])
    labels, entries = imagequant.quantize_raw_rgba_bytes(
        opaque.tobytes(), width, height, dithering_level=0.0, max_colors=n_colors
    )
    return np.array(entries, np.uint8).reshape(-1, 4)[:, :3], np.frombuffer(labels, np.uint8)


def _pillow(method: str) -> Callable[[Pixels, int], Labelled]:
    def run(photo: Pixels, n_colors: int) -> Labelled:
        from PIL import Image

        found = Image.fromarray(photo).quantize(n_colors, method=Image.Quantize[method])
        return np.array(found.getpalette(), np.uint8).reshape(-1, 3), np.asarray(found)

    return run


def _points(photo: Pixels) -> npt.NDArray[np.float32]:  # [N, 3]
    return photo.reshape(-1, 3).astype(np.float32)


def _checked(
    palette: npt.NDArray[Any], labels: npt.NDArray[Any], photo: Pixels, n_colors: int
) -> tuple[Pixels, npt.NDArray[Any]]:
    labels = labels.reshape(photo.shape[:2])
    if len(np.unique(labels)) > n_colors:
        raise ValueError(f"{len(np.unique(labels))} colors in place of {n_colors}")
    return palette.round().clip(0, 255).astype(np.uint8), labels


def _problem(quantizer: Quantizer, photo: Pixels, problem: str) -> Measurement:
    return Measurement(quantizer.name, "", (), photo.shape[0] * photo.shape[1], 0, 0.0, None, problem)


def _start_of_peak() -> int | None:
    """Start the peak of memory anew; what there is now, in kB."""
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return None
    return _memory("VmRSS")


def _memory(key: str) -> int:
    return next(int(line.split()[1]) for line in (PROC / "status").read_text().splitlines() if line.startswith(key))


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    import os
    import platform

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
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found

"""Other quantizers, each asked in the way its own documentation shows, with all threads that it takes by itself.

libimagequant is here as pngquant 3, which holds its current line, in Rust. Python's imagequant 1.1 wraps the line in C
that came before, and is no longer worked on.

Nothing is imported before it is asked: what a peer's first call takes is part of what is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gpuquant.bench.programs import ffmpeg, gdal, pngquant
from gpuquant.bench.quantized import Pixels, Quantized

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE = 1000  # pixels that scikit-learn's example of color quantization fits to
FAISS_SAMPLE = 256  # points for each center that faiss fits to, if not told otherwise
PLAIN_ITERATIONS = 20  # of peers that do not stop by themselves
POINTS_AT_ONCE = 1 << 16  # sums of so many levels are exact in single precision


@dataclass(frozen=True)
class Quantizer:
    """One way to quantize a photo. `run` can be sent to another process."""

    name: str
    package: str  # which pip installs
    run: Callable[[Pixels, int], Quantized]  # [H, W, 3], K
    rank: int = 0  # from fast to slow, for when there is little time: ours, then peers


def quantizers(device: str = "auto") -> list[Quantizer]:
    """gpuquant, and every peer, installed or not.

    Ranks of peers are by the geometric mean of their seconds for 8 and for 256 colors of 13.7 megapixels, as stored in
    benchmarks/results, or 300 where they were stopped or not begun. What runs on a CUDA device, and is not stored, is
    taken to be as fast as pngquant.
    """
    from gpuquant.devices import resolve_device

    target = str(resolve_device(device))
    where = "" if target == "cpu" else f", {target}"
    n_steps = PLAIN_ITERATIONS
    on_cuda = [
        Quantizer(f"flash-kmeans, {n_steps} iterations{where}", "flash-kmeans", partial(_flash_kmeans, target), 4)
    ]
    return [
        Quantizer(f"gpuquant{where}", "gpuquant", partial(_gpuquant, "default", target)),
        Quantizer(f"gpuquant, effort=fast{where}", "gpuquant", partial(_gpuquant, "fast", target)),
        Quantizer(f"gpuquant, effort=best{where}", "gpuquant", partial(_gpuquant, "best", target)),
        Quantizer("scikit-learn KMeans(n_init=1)", "scikit-learn", _scikit_learn, 13),
        Quantizer("scikit-learn MiniBatchKMeans", "scikit-learn", _mini_batches, 10),
        Quantizer(f"scikit-learn, fit to {SAMPLE} pixels", "scikit-learn", _sample, 5),
        Quantizer("scikit-learn-intelex KMeans(n_init=1)", "scikit-learn-intelex", _intelex, 12),
        Quantizer("faiss Kmeans", "faiss-cpu", partial(_faiss, FAISS_SAMPLE), 3),
        Quantizer("faiss Kmeans, all points", "faiss-cpu", partial(_faiss, None), 9),
        Quantizer("OpenCV kmeans, 10 iterations", "opencv-python-headless", _opencv, 11),
        Quantizer(f"torch, {n_steps} plain iterations{where}", "torch", partial(_torch, target), 4 if where else 14),
        *(on_cuda if where else []),
        Quantizer("pngquant", "pngquant-cli", pngquant, 4),
        Quantizer("ffmpeg palettegen", "imageio-ffmpeg", ffmpeg, 7),
        Quantizer("GDAL rgb2pct, dithered", "rasterio", gdal, 2),
        Quantizer("Pillow MEDIANCUT", "pillow", partial(_pillow, "MEDIANCUT"), 6),
        Quantizer("Pillow MAXCOVERAGE", "pillow", partial(_pillow, "MAXCOVERAGE"), 8),
        Quantizer("Pillow FASTOCTREE", "pillow", partial(_pillow, "FASTOCTREE"), 1),
    ]


def points_of(photo: Pixels) -> npt.NDArray[np.float32]:  # [N, 3]
    return photo.reshape(-1, 3).astype(np.float32)


def torch_step(
    points: "Tensor",  # [N, 3] float32
    centers: "Tensor",  # [K, 3] float32
) -> tuple["Tensor", "Tensor", "Tensor"]:  # sums [K, 3] float64, counts [K] int64, labels [N]
    """One Lloyd step as one writes it by hand: all distances to a chunk of points, then sums by label."""
    import torch

    sums, counts = torch.zeros_like(centers, dtype=torch.float64), torch.zeros_like(centers[:, 0], dtype=torch.int64)
    labels = []
    for part in points.split(POINTS_AT_ONCE):
        labels.append(torch.cdist(part, centers).argmin(dim=1))
        sums += torch.zeros_like(centers).index_add_(0, labels[-1], part)
        counts += torch.bincount(labels[-1], minlength=len(centers))
    return sums, counts, torch.cat(labels)


def torch_lloyd(
    points: "Tensor",  # [N, 3] float32
    centers: "Tensor",  # [K, 3] float32
    max_iter: int,
) -> Quantized:
    """Make so many plain steps, and label by the last centers; a center without points stays where it is."""
    import torch

    for _ in range(max_iter):
        sums, counts, _ = torch_step(points, centers)
        centers = torch.where(counts[:, None] > 0, sums / counts[:, None], centers).float()
    labels = torch_step(points, centers)[2]
    return Quantized(centers.cpu().numpy(), labels.cpu().numpy(), max_iter)


def _gpuquant(effort: str, device: str, photo: Pixels, n_colors: int) -> Quantized:
    from gpuquant.quantization.recipes import quantize

    result = quantize(photo, n_colors, effort=effort, device=device)
    return Quantized(result.palette.rows, np.asarray(result.labels), result.n_iter)


def _scikit_learn(photo: Pixels, n_colors: int) -> Quantized:
    from sklearn.cluster import KMeans

    fit = KMeans(n_colors, n_init=1, random_state=0).fit(points_of(photo))
    return Quantized(fit.cluster_centers_, fit.labels_, fit.n_iter_)


def _mini_batches(photo: Pixels, n_colors: int) -> Quantized:
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(n_colors, n_init=1, random_state=0).fit(points_of(photo))
    return Quantized(fit.cluster_centers_, fit.labels_)  # its n_iter_ counts passes over small batches


def _sample(photo: Pixels, n_colors: int) -> Quantized:
    """Quantize as scikit-learn's example "Color Quantization using K-Means" does."""
    from sklearn.cluster import KMeans
    from sklearn.utils import shuffle

    points = points_of(photo)
    fit = KMeans(n_colors, random_state=0).fit(shuffle(points, random_state=0, n_samples=max(SAMPLE, n_colors)))
    return Quantized(fit.cluster_centers_, fit.predict(points))


def _intelex(photo: Pixels, n_colors: int) -> Quantized:
    from sklearnex.cluster import KMeans

    fit = KMeans(n_colors, n_init=1, random_state=0).fit(points_of(photo))
    return Quantized(fit.cluster_centers_, fit.labels_, fit.n_iter_)


def _faiss(sample: int | None, photo: Pixels, n_colors: int) -> Quantized:
    """Quantize with faiss, fitted to so many points for each center, or to all."""
    import faiss

    points = points_of(photo)
    fit: Any = faiss.Kmeans(3, n_colors, seed=0, max_points_per_centroid=sample or len(points))
    fit.train(points)
    return Quantized(fit.centroids, fit.index.search(points, 1)[1][:, 0], len(fit.obj))


def _opencv(photo: Pixels, n_colors: int) -> Quantized:
    import cv2

    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    labels: Any = None
    _, labels, centers = cv2.kmeans(points_of(photo), n_colors, labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    return Quantized(centers, labels[:, 0])


def _torch(device: str, photo: Pixels, n_colors: int) -> Quantized:
    import torch

    points = torch.from_numpy(points_of(photo)).to(device)
    first = np.random.RandomState(0).choice(len(points), n_colors, replace=False)
    return torch_lloyd(points, points[torch.from_numpy(first).to(device)], PLAIN_ITERATIONS)


def _flash_kmeans(device: str, photo: Pixels, n_colors: int) -> Quantized:
    """Quantize with flash-kmeans, which runs on CUDA devices only, and starts at random points."""
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    torch.manual_seed(0)
    points = torch.from_numpy(points_of(photo)).to(device)[None]
    labels, centers, *_ = batch_kmeans_Euclid(points, n_colors, max_iters=PLAIN_ITERATIONS)
    return Quantized(centers[0].cpu().numpy(), labels[0].cpu().numpy(), PLAIN_ITERATIONS)


def _pillow(method: str, photo: Pixels, n_colors: int) -> Quantized:
    from PIL import Image

    found = Image.fromarray(photo).quantize(n_colors, method=Image.Quantize[method])
    return Quantized(np.array(found.getpalette(), np.uint8).reshape(-1, 3), np.asarray(found))

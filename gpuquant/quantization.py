"""quantize(): from a photo to its palette and labels."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.alpha_fit import fit_alpha_palette
from gpuquant.arguments import check_positive, check_settings, is_integer
from gpuquant.counted_photo import CountedPhoto, count_photo
from gpuquant.devices import resolve_device, told_when_memory_ends
from gpuquant.errors import ArgumentError
from gpuquant.histogram import shared_tensor
from gpuquant.image_reading import MAX_PIXELS, Photo
from gpuquant.palette import Palette, as_numpy
from gpuquant.palette_fit import PaletteFit, fit_palette
from gpuquant.photo_loading import ImageLike, load_photo, parse_color
from gpuquant.quantized_image import QuantizedImage

MAX_COLORS = 4096


def quantize(
    image: ImageLike,
    n_colors: int = 8,
    *,
    device: str | torch.device = "auto",
    init: str | np.ndarray | Tensor = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int = 0,
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: str | tuple[int, int, int] | None = None,
    keep_profile: bool = False,
) -> QuantizedImage:
    """Reduce an image to its `n_colors` k-means colours.

    All pixels take part, none is sampled: they are counted into an exact histogram, k-means runs on the distinct
    colours with their counts, and every pixel is then looked up. Labels and error refer to the rounded palette.

    Parameters
    ----------
    image : path, Pillow image, or uint8 array or tensor [H, W, 3], [H, W, 4] or [H, W]
        RGB, RGB with alpha, or grey. OpenCV's images are BGR: pass `image[..., ::-1]`. Clear pixels (alpha 0) take one
        entry of the palette; colours that are partly transparent are clustered in four columns, weighted by alpha.
    n_colors : int
        K, from 1 to 4096. The result has exactly K entries, each used by a pixel, or, when the image has fewer
        colours, all of them without loss.
    device : "auto", "cpu", "cuda", "cuda:1" or torch.device
        "auto" is a tensor's own device; otherwise CUDA where there is one, or else the CPU. The results for a tensor
        are tensors on its device.
    init : "k-means++", "random" or array [K, 3]
        Where k-means starts.
    n_init : int
        Runs from different starts; the best is kept.
    max_iter, tol : int, float
        As for `kmeans`; they hold for the iterations on all colours, not for those on coarser cells before, nor for
        settling the rounded palette after.
    random_state : int
        Seed of the draws. The same input gives the same bits, for any chunk_size and number of threads.
    chunk_size : int, optional
        Pixels worked on together; changes no result.
    max_pixels : int
        A file with more is refused before it is decoded: a small file can hold a huge picture.
    background : str or (int, int, int), optional
        What transparent images are laid onto, such as "white" or "#ffffff"; the result is then opaque.
    keep_profile : bool
        Cluster the levels as they are stored, and keep the embedded RGB profile with the result, in place of
        converting to sRGB. Grey, CMYK and Lab are converted nevertheless, with a warning.

    Returns
    -------
    QuantizedImage

    Raises
    ------
    ArgumentError
        An argument cannot be used, for example a float image.
    ImageFileError
        The file cannot be read.
    DeviceError
        The device is not there.

    Notes
    -----
    k-means goes from coarse to fine: it starts on the means of the cells of a coarser colour cube and ends on all
    distinct colours, with over-relaxed Lloyd steps. The rounded palette is settled by Lloyd steps on integers.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> image = np.zeros((2, 3, 3), dtype=np.uint8)
    >>> image[0] = 200
    >>> result = gpuquant.quantize(image, 2)
    >>> result.palette.hex, result.mse
    (('#000000', '#c8c8c8'), 0.0)
    """
    if not is_integer(n_colors) or not 1 <= n_colors <= MAX_COLORS:
        raise ArgumentError(f"n_colors={n_colors!r} must be an integer from 1 to {MAX_COLORS}")
    check_settings(n_init, max_iter, tol, random_state, chunk_size)
    check_positive("max_pixels", max_pixels)
    target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
    start = _check_init(init, int(n_colors))
    behind = None if background is None else parse_color(background)
    seconds: dict[str, float] = {}
    with _timed(seconds, "read", target):
        photo = load_photo(image, max_pixels)
        pixels = photo.detach() if isinstance(photo, Tensor) else shared_tensor(photo.pixels)
    kept = _kept_profile(photo, keep_profile)
    if isinstance(photo, Photo):
        for note in photo.notes:
            warnings.warn(f"{_name_of(image)}: {note}", stacklevel=2)
        if keep_profile and photo.other_profile:
            warnings.warn(f"{_name_of(image)}: only RGB profiles can be kept; converted to sRGB", stacklevel=2)
    with _timed(seconds, "count", target):
        to_srgb = photo.to_srgb if isinstance(photo, Photo) and not kept else None
        counted = count_photo(pixels, target, to_srgb=to_srgb, background=behind, chunk_size=chunk_size)
    del pixels, photo
    with _timed(seconds, "cluster", target):
        fit = _fit(
            counted,
            int(n_colors),
            init=start,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            random_state=int(random_state),
            chunk_size=chunk_size,
        )
    with _timed(seconds, "map", target):
        order = fit.counts.argsort(descending=True, stable=True)
        color_labels = order.argsort().to(torch.int32)[fit.labels.long()]
        labels = counted.labels(color_labels, chunk_size=chunk_size)
        found: list[Any] = [fit.palette[order], labels, fit.counts[order]]
        if target.type == "cuda" and not (isinstance(image, Tensor) and image.is_cuda):
            found = [ops.download(output) for output in found]
    found = [output.to(image.device) if isinstance(image, Tensor) else as_numpy(output) for output in found]
    palette = found[0]
    return QuantizedImage(
        palette=Palette(palette[:, :3], palette[:, 3] if counted.has_alpha else None),
        labels=found[1],
        counts=found[2],
        mse=fit.error / labels.numel(),
        inertia=fit.inertia,
        n_iter=fit.n_iter,
        converged=fit.converged,
        seconds=seconds,
        icc_profile=kept,
    )


def _fit(counted: CountedPhoto, n_colors: int, *, init: str | Tensor, **settings: Any) -> PaletteFit:
    if not counted.has_alpha:
        return fit_palette(counted.colors, counted.counts, n_colors, init=init, **settings)
    if isinstance(init, Tensor):
        raise ArgumentError('init must be "k-means++" or "random" for an image with transparency, or give a background')
    return fit_alpha_palette(counted.colors, counted.counts, n_colors, init=init, **settings)


def _kept_profile(photo: Photo | Tensor, keep_profile: bool) -> bytes | None:
    return photo.icc_profile if keep_profile and isinstance(photo, Photo) else None


def _name_of(image: ImageLike) -> str:
    return str(image) if isinstance(image, str | Path) else "the image"


def _check_init(init: str | np.ndarray | Tensor, n_colors: int) -> str | Tensor:
    """The name of a method, or given centers [K, 3] float64."""
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ArgumentError(f'init={init!r} is unknown; use "k-means++", "random" or an array of colors')
        return init
    if not isinstance(init, np.ndarray | Tensor):
        raise ArgumentError(f"init must be a name or an array [n_colors, 3], got {type(init).__name__}")
    centers = torch.as_tensor(init)
    if centers.is_complex():
        raise ArgumentError("init must be real levels from 0 to 255")
    centers = centers.double()
    if centers.shape != (n_colors, 3):
        raise ArgumentError(f"init must be [n_colors, 3] = [{n_colors}, 3], got {tuple(centers.shape)}")
    if not bool(((centers >= 0) & (centers <= 255)).all()):
        raise ArgumentError("init must hold levels from 0 to 255, without NaN")
    return centers


@contextmanager
def _timed(seconds: dict[str, float], stage: str, device: torch.device) -> Iterator[None]:
    start = time.perf_counter()
    with told_when_memory_ends():
        yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds[stage] = time.perf_counter() - start

"""quantize(): from a photo to its palette and labels."""

import io
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_positive, check_settings, is_integer
from gpuquant.devices import resolve_device, told_when_memory_ends
from gpuquant.errors import ArgumentError
from gpuquant.histogram import ColorHistogram, shared_tensor
from gpuquant.image_reading import MAX_PIXELS, Photo, photo_of, read_photo
from gpuquant.image_writing import check_format, indexed_image, write_image
from gpuquant.mapping import map_pixels
from gpuquant.metrics import psnr
from gpuquant.ops.color_codes import z_order
from gpuquant.palette import Palette, as_numpy
from gpuquant.palette_fit import fit_palette

MAX_COLORS = 4096
ImageLike = str | Path | Image.Image | np.ndarray | Tensor
"""A path, a Pillow image, or uint8 pixels [H, W, 3] in RGB order or grey [H, W]."""


@dataclass(frozen=True, eq=False)
class QuantizedImage:
    """A photo reduced to a palette and one label per pixel. It keeps no copy of the photo.

    Attributes
    ----------
    palette : Palette
        K colours, the most common first.
    labels : array or tensor, uint8 [H, W], uint16 above 256 colours
        Index of each pixel's palette entry, the nearest one; all pixels of a colour have the same.
    counts : array or tensor, int64 [K]
        How many pixels have each entry; never 0.
    mse : float
        Mean over pixels of the sum over R, G, B of squared 8-bit differences between the photo and `to_array()`.
    inertia : float
        Sum over pixels of the squared distance to the k-means center, before centers are rounded to 8 bits.
    n_iter : int
        Lloyd iterations over all distinct colours (those on coarser cells come before and are not counted).
    converged : bool
        Whether k-means stopped by itself within `max_iter` iterations.
    seconds : dict of str to float
        Wall time of each stage: "read", "count", "cluster", "map".
    """

    palette: Palette
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | Tensor
    counts: npt.NDArray[np.int64] | Tensor
    mse: float
    inertia: float
    n_iter: int
    converged: bool
    seconds: dict[str, float]

    @property
    def shares(self) -> npt.NDArray[np.float64] | Tensor:
        """The entries' shares of the pixels, float64 [K], adding up to 1."""
        if isinstance(self.counts, Tensor):
            return self.counts.double() / self.counts.sum()
        shares: npt.NDArray[np.float64] = self.counts / self.counts.sum()
        return shares

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB; infinite when nothing was lost."""
        return psnr(self.mse)

    def to_array(self) -> npt.NDArray[np.uint8]:  # [H, W, 3]
        """The pixels of the quantised image, on the host."""
        pixels: npt.NDArray[np.uint8] = as_numpy(self.palette.colors)[as_numpy(self.labels)]
        return pixels

    def to_image(self) -> Image.Image:
        """A Pillow image of mode P, or RGB above 256 colours."""
        if len(self.palette) > 256:
            return Image.fromarray(self.to_array())
        return indexed_image(as_numpy(self.labels), as_numpy(self.palette.colors))

    def save(self, path: str | Path, *, compression: int | None = None) -> None:
        """Write the image: .png, .tif or .gif, indexed; above 256 colours as RGB, which GIF cannot hold.

        Parameters
        ----------
        path : str or Path
        compression : int, optional
            zlib's level for a PNG, 0 (fast) to 9 (small). The default is nearly as small as 9 in a tenth of the time.

        Raises
        ------
        ArgumentError
            The ending is unknown, the format cannot hold so many colours, or there is no such level.
        ImageFileError
            The file cannot be written; no half-written file is left.
        """
        check_format(path, len(self.palette))
        if compression is not None and not (is_integer(compression) and 0 <= compression <= 9):
            raise ArgumentError(f"compression={compression!r} must be an integer from 0 to 9")
        write_image(self.to_image(), path, compression)

    def side_by_side(self, original: ImageLike, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The original and the result next to each other, scaled to fit a screen.

        Raises
        ------
        ArgumentError
            The original has another size.
        """
        from gpuquant.comparison import side_by_side

        loaded = load_photo(original, max_pixels)
        pixels = loaded.in_srgb() if isinstance(loaded, Photo) else as_numpy(loaded)
        if pixels.shape[:2] != tuple(self.labels.shape):
            raise ArgumentError(f"original is {pixels.shape[:2]}, the result is {tuple(self.labels.shape)}")
        return side_by_side(pixels, self.to_array())

    def _repr_png_(self) -> bytes:
        picture = self.to_image().convert("RGB")
        picture.thumbnail((1024, 1024))
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()


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
) -> QuantizedImage:
    """Reduce an image to its `n_colors` k-means colours.

    All pixels take part, none is sampled: they are counted into an exact histogram, k-means runs on the distinct
    colours with their counts, and every pixel is then looked up. Labels and error refer to the rounded palette.

    Parameters
    ----------
    image : path, Pillow image, or uint8 array or tensor [H, W, 3] or [H, W]
        RGB or grey. OpenCV's images are BGR: pass `image[..., ::-1]`.
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

    Returns
    -------
    QuantizedImage

    Raises
    ------
    ArgumentError
        An argument cannot be used, for example a float image or one with alpha.
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
    seconds: dict[str, float] = {}
    with _timed(seconds, "read", target):
        photo = load_photo(image, max_pixels)
        pixels = photo.detach() if isinstance(photo, Tensor) else shared_tensor(photo.pixels)
    if isinstance(photo, Photo):
        for note in photo.notes:
            warnings.warn(f"{_name_of(image)}: {note}", stacklevel=2)
    rows = pixels.reshape(-1, 3) if pixels.ndim == 3 else pixels.reshape(-1)
    with _timed(seconds, "count", target):
        histogram = ColorHistogram(target)
        rows = histogram.add_rows(rows, chunk_size=chunk_size)
        colors, counts = histogram.colors, histogram.counts
        seen, place = colors, None  # what the stored colours look like, and where each of them is among these
        if isinstance(photo, Photo) and photo.to_srgb:
            seen, counts, place = _looks(colors, counts, photo.to_srgb)
    with _timed(seconds, "cluster", target):
        fit = fit_palette(
            seen,
            counts,
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
        color_labels = color_labels if place is None else color_labels[place]
        labels = map_pixels(rows, colors, color_labels, chunk_size=chunk_size)
        found: list[Any] = [fit.palette[order], labels.view(pixels.shape[:2]), fit.counts[order]]
        if target.type == "cuda" and not (isinstance(image, Tensor) and image.is_cuda):
            found = [ops.download(output) for output in found]
    found = [output.to(image.device) if isinstance(image, Tensor) else as_numpy(output) for output in found]
    return QuantizedImage(
        palette=Palette(found[0]),
        labels=found[1],
        counts=found[2],
        mse=fit.error / len(rows),
        inertia=fit.inertia,
        n_iter=fit.n_iter,
        converged=fit.converged,
        seconds=seconds,
    )


def _looks(
    colors: Tensor,  # [M, 3] uint8, as stored
    counts: Tensor,  # [M] int64
    to_srgb: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
) -> tuple[Tensor, Tensor, Tensor]:  # [L, 3] uint8 in Z-order, [L] int64, [M] int64
    """What stored colours look like: the distinct colours, their counts, and which of them each stored one is."""
    converted = torch.from_numpy(to_srgb(colors.cpu().numpy())).to(colors.device)
    keys, place = torch.unique(z_order(converted), return_inverse=True)
    seen = torch.zeros(len(keys), 3, dtype=torch.uint8, device=colors.device)
    seen[place] = converted
    return seen, torch.zeros_like(keys, dtype=torch.int64).index_add_(0, place, counts), place


def _name_of(image: ImageLike) -> str:
    return str(image) if isinstance(image, str | Path) else "the image"


def load_photo(image: ImageLike, max_pixels: int = MAX_PIXELS) -> Photo | Tensor:  # uint8 [H, W, 3] or [H, W]
    """Whatever `quantize` takes as an image.

    Raises
    ------
    ArgumentError
        The array or tensor has an unusable shape or dtype.
    ImageFileError
        The file cannot be read.
    """
    if isinstance(image, str | Path):
        return read_photo(image, max_pixels=max_pixels)
    if isinstance(image, Image.Image):
        return photo_of(image.copy())
    if not isinstance(image, np.ndarray | Tensor):
        expected = "a path, a Pillow image, or a uint8 array or tensor [H, W, 3] or [H, W]"
        raise ArgumentError(f"image must be {expected}, got {type(image).__name__}")
    shape = tuple(image.shape)
    if image.ndim == 3 and shape[2] == 4:
        raise ArgumentError(
            f"image has an alpha channel {shape}, which is not supported yet; pass image[..., :3] to drop it"
        )
    if image.ndim == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3):
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; move the channels to the end with permute(1, 2, 0)")
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] != 3):
        raise ArgumentError(f"image must be [H, W, 3] or grey [H, W], got {shape}")
    if 0 in shape:
        raise ArgumentError(f"image is empty, got {shape}")
    if "uint8" not in str(image.dtype):
        advice = "for levels 0..1 use (image * 255).round() and convert to uint8"
        raise ArgumentError(f"image must be uint8, got {image.dtype}; {advice}")
    return image if isinstance(image, Tensor) else Photo(image)


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

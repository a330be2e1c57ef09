"""quantize(), extract_palette(), apply_palette(): recipes for one image or a few."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from gpuquant.arguments import check_chunk_size, check_positive, check_settings
from gpuquant.counted_photo import ColorSum
from gpuquant.devices import resolve_device
from gpuquant.dithering import check_dither
from gpuquant.errors import ArgumentError
from gpuquant.image_reading import MAX_PIXELS
from gpuquant.image_steps import count_image, fit_colors, fit_to_palette, map_image, palette_of
from gpuquant.palette import MAX_ENTRIES, Palette
from gpuquant.palette_search import PaletteSearch, check_search
from gpuquant.photo_loading import ImageLike, parse_color
from gpuquant.quantized_image import QuantizedImage


def quantize(
    image: ImageLike,
    n_colors: int | None = None,
    *,
    target_psnr: float | None = None,
    effort: str = "default",
    color_space: str = "srgb",
    weighting: float = 1.0,
    device: str | torch.device = "auto",
    init: str | np.ndarray | Tensor = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int = 0,
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
    keep_profile: bool = False,
    dither: str = "none",
    dither_strength: float = 1.0,
) -> QuantizedImage:
    """Reduce an image to its `n_colors` k-means colors.

    All pixels take part, none is sampled: they are counted into an exact histogram, k-means runs on the distinct
    colors with their counts, and every pixel is then looked up. Labels and error refer to the rounded palette.

    Parameters
    ----------
    image : path, Pillow image, or uint8 array or tensor [H, W, 3], [H, W, 4] or [H, W]
        RGB, RGB with alpha, or grey. OpenCV's images are BGR: pass `image[..., ::-1]`. Clear pixels (alpha 0) take one
        entry of the palette; colors that are partly transparent are clustered in four columns, weighted by alpha.
    n_colors : int, optional
        K, from 1 to 4096; 8 if there is no target either. The result has exactly K entries, each used by a pixel, or,
        when the image has fewer colors, all of them without loss.
    target_psnr : float, optional
        Take as few colors as reach this PSNR in dB, in place of a given number: one color less does not. It is that
        of the palette, before dithering. Several palettes are tried, which takes as many times as long.
    effort : "fast", "default" or "best"
        How long to look for a low error after k-means++. "best" goes on from the local minimum that "default" ends in,
        by breathing k-means on cells of the color cube, as long as these are 5 for each entry; "fast" tries one
        start, and does not iterate to the end. Other starts are always iterated as by default.
    color_space : "srgb" or "oklab"
        Where distances are taken. In Oklab, with a and b doubled, equal ones look about equal. Entries are sRGB
        nevertheless, and so is `mse`, which is higher.
    weighting : float
        From 1, each pixel counts the same, to 0. A cell of the color cube, of 8 levels a side, with n pixels counts as
        n to this power, so that a lower one gives rare colors more of the palette, and large areas fewer shades.
    device : "auto", "cpu", "cuda", "cuda:1" or torch.device
        "auto" is a tensor's own device; otherwise CUDA where there is one, or else the CPU. The results for a tensor
        are tensors on its device.
    init : "k-means++", "random" or array [K, 3]
        Where k-means starts.
    n_init : int
        Runs from different starts; the best is kept. In Oklab and with partly transparent colors "default" and "best"
        take at least 4.
    max_iter, tol : int, float
        As for `kmeans`; they hold for the iterations on all colors, not for those on coarser cells before, nor for
        settling the rounded palette after. In Oklab and with partly transparent colors they hold for k-means on the
        means of cells, where there are more than 32,768 colors.
    random_state : int
        Seed of the draws. The same input gives the same bits, for any chunk_size and number of threads.
    chunk_size : int, optional
        Pixels worked on together; changes no result.
    max_pixels : int
        A file with more is refused before it is decoded: a small file can hold a huge picture.
    preview : bool
        Take the small preview of a raw photo, or of a TIFF that begins with a smaller copy; they are refused otherwise.
    background : str or (int, int, int), optional
        What transparent images are laid onto, such as "white" or "#ffffff"; the result is then opaque.
    keep_profile : bool
        Cluster the levels as they are stored, and keep the embedded RGB profile with the result, in place of
        converting to sRGB. Grey, CMYK and Lab are converted nevertheless, with a warning.
    dither : "none", "floyd-steinberg", "blue-noise" or "bayer"
        Mix entries so that neighbouring pixels average to what they show. "floyd-steinberg" diffuses each pixel's error
        to the next ones, exactly as row by row; "blue-noise" and "bayer" choose by a mask among the entries that mix to
        a color, four at most. Only opaque pixels are dithered, and colors that are entries stay what they are. The
        palette is not fitted to it: an entry may then be unused, and the error of single pixels is higher.
    dither_strength : float
        From 0, as "none", to 1: the part of each error that is diffused, in 128ths, or of the way between entries in
        which several are used.

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
    TargetError
        4096 colors do not reach the target.

    Notes
    -----
    k-means goes from coarse to fine: it starts on the means of the cells of a coarser color cube and ends on all
    distinct colors, with over-relaxed Lloyd steps (B. Fritzke 2020, "The breathing k-means algorithm", between the
    two for the best effort). The rounded palette is settled by Lloyd steps on integers. Sources: D. Arthur and
    S. Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; S. Lloyd 1982, "Least squares quantization
    in PCM"; B. Ottosson 2020, "A perceptual color space for image processing" (Oklab). The dithers are those of
    R. W. Floyd and L. Steinberg 1976, R. Ulichney 1993 (void and cluster: blue noise) and B. E. Bayer 1973.

    On the CPU torch is held to one thread for the time of the call, and large parts are shared out among as many
    threads of ours as torch had: they do not wait for each other where other processes are busy.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> image = np.zeros((2, 3, 3), dtype=np.uint8)
    >>> image[0] = 200
    >>> result = gpuquant.quantize(image, 2)
    >>> result.palette.hex, result.mse
    (('#000000', '#c8c8c8'), 0.0)
    """
    search = check_search(n_colors, target_psnr, color_space, weighting, effort, random_state)
    check_settings(n_init, max_iter, tol, random_state, chunk_size)
    check_positive("max_pixels", max_pixels)
    target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
    start = _check_init(init, search.n_colors)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=True)
    loaded = count_image(image, target, max_pixels, behind, keep_profile, chunk_size, preview)
    _warn(image, loaded.notes)
    fit = fit_colors(loaded, search, init=start, n_init=n_init, max_iter=max_iter, tol=tol, chunk_size=chunk_size)
    return map_image(image, loaded, fit, chunk_size=chunk_size, dither=dithering)


def extract_palette(
    images: ImageLike | Iterable[ImageLike],
    n_colors: int | None = None,
    *,
    target_psnr: float | None = None,
    effort: str = "default",
    color_space: str = "srgb",
    weighting: float = 1.0,
    device: str | torch.device = "auto",
    random_state: int = 0,
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
) -> Palette:
    """The `n_colors` k-means colors of one image, or of all pixels of many.

    Images are counted one after the other, and only their distinct colors are kept.

    Parameters
    ----------
    images : image or iterable of images
        Each a path, a Pillow image or pixels, as `quantize` takes them. A generator is read one by one.
    n_colors, target_psnr, effort, color_space, weighting, device, random_state, chunk_size, max_pixels, preview, \
    background
        As for `quantize`.

    Returns
    -------
    Palette
        The most common color first.

    Raises
    ------
    ArgumentError, ImageFileError, DeviceError, TargetError
        As `quantize`; also for no image at all.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> dark, light = np.zeros((2, 2, 3), np.uint8), np.full((3, 3, 3), 250, np.uint8)
    >>> gpuquant.extract_palette([dark, light], 2).hex
    ('#fafafa', '#000000')
    """
    search = check_search(n_colors, target_psnr, color_space, weighting, effort, random_state)
    return extract_with_counts(
        images,
        search,
        device=device,
        chunk_size=chunk_size,
        max_pixels=max_pixels,
        preview=preview,
        background=background,
    )[0]


def extract_with_counts(
    images: ImageLike | Iterable[ImageLike],
    search: PaletteSearch,
    *,
    device: str | torch.device = "auto",
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
) -> tuple[Palette, npt.NDArray[np.int64]]:  # [K]
    """What `extract_palette` gives, and how many pixels have each entry."""
    check_chunk_size(chunk_size)
    check_positive("max_pixels", max_pixels)
    behind = None if background is None else parse_color(background)
    single = isinstance(images, str | Path | Image.Image | np.ndarray | Tensor)
    if not single and not isinstance(images, Iterable):
        raise ArgumentError(f"images must be one image or several, got {type(images).__name__}")
    every: Iterable[ImageLike] = [images] if single else images  # type: ignore[list-item, assignment]
    total: ColorSum | None = None
    for image in every:
        target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
        loaded = count_image(image, target, max_pixels, behind, False, chunk_size, preview)
        _warn(image, loaded.notes, stacklevel=4)
        total = total or ColorSum(target)
        total.add(loaded.counted)
    if total is None:
        raise ArgumentError("images is empty; give at least one")
    return palette_of(*total.total(), search, chunk_size=chunk_size)


def apply_palette(
    image: ImageLike,
    palette: Palette,
    *,
    device: str | torch.device = "auto",
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
    dither: str = "none",
    dither_strength: float = 1.0,
) -> QuantizedImage:
    """Give every pixel of an image the nearest entry of a given palette, the first of equal ones, or dither.

    Parameters
    ----------
    image, device, chunk_size, max_pixels, preview, background, dither, dither_strength
        As for `quantize`.
    palette : Palette
        From 1 to 65536 entries, whose order is kept. If one of them is partly transparent or the image is, distances
        are those of four columns, weighted by alpha. A palette without a clear entry gets one at its end for an image
        with clear pixels.

    Returns
    -------
    QuantizedImage
        Entries may be unused; `n_iter` is 0.

    Raises
    ------
    ArgumentError, ImageFileError, DeviceError
        As `quantize`; also for something else than a palette.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> palette = gpuquant.Palette(np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
    >>> gpuquant.apply_palette(np.array([[10, 200]], np.uint8), palette).labels.tolist()
    [[0, 1]]
    """
    check_palette(palette)
    check_chunk_size(chunk_size)
    check_positive("max_pixels", max_pixels)
    target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=False)
    loaded = count_image(image, target, max_pixels, behind, False, chunk_size, preview)
    _warn(image, loaded.notes)
    fit = fit_to_palette(loaded, palette, chunk_size=chunk_size)
    return map_image(image, loaded, fit, in_order=True, chunk_size=chunk_size, dither=dithering)


def check_palette(palette: Palette) -> None:
    """Raise unless a palette can be applied."""
    if not isinstance(palette, Palette):
        found = type(palette).__name__
        raise ArgumentError(
            f"palette must be a gpuquant.Palette(colors, uint8 [K, 3]) or that of read_palette, got {found}"
        )
    if not 1 <= len(palette) <= MAX_ENTRIES:
        raise ArgumentError(f"a palette to apply has from 1 to {MAX_ENTRIES} entries, not {len(palette)}")


def _warn(image: ImageLike, notes: Sequence[str], stacklevel: int = 3) -> None:
    name = str(image) if isinstance(image, str | Path) else "the image"
    for note in notes:
        warnings.warn(f"{name}: {note}", stacklevel=stacklevel)


def _check_init(init: str | np.ndarray | Tensor, n_colors: int | None) -> str | Tensor:
    """The name of a method, or given centers [K, 3] float64."""
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ArgumentError(f'init={init!r} is unknown; use "k-means++", "random" or an array of colors')
        return init
    if not isinstance(init, np.ndarray | Tensor):
        raise ArgumentError(f"init must be a name or an array [n_colors, 3], got {type(init).__name__}")
    if n_colors is None:
        raise ArgumentError("init as an array has a number of colors; it excludes target_psnr")
    centers = torch.as_tensor(init)
    if centers.is_complex():
        raise ArgumentError("init must be real levels from 0 to 255")
    centers = centers.double()
    if centers.shape != (n_colors, 3):
        raise ArgumentError(f"init must be [n_colors, 3] = [{n_colors}, 3], got {tuple(centers.shape)}")
    if not bool(((centers >= 0) & (centers <= 255)).all()):
        raise ArgumentError("init must hold levels from 0 to 255, without NaN")
    return centers

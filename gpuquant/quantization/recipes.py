"""quantize(), extract_palette(), apply_palette(): recipes for one image or a few."""

import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gpuquant.arguments import MAX_PIXELS, check_chunk_size, check_positive, check_settings
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.devices import resolve_device
from gpuquant.dithering.methods import check_dither
from gpuquant.errors import ArgumentError
from gpuquant.fitting.search import check_search
from gpuquant.images.loading import ImageLike, is_image_like, parse_color
from gpuquant.images.sources import name_of
from gpuquant.palettes.palette import Palette, PaletteLike
from gpuquant.palettes.parsing import as_start, n_colors_of, palette_to_apply
from gpuquant.quantization.file_steps import budget_of, count_once
from gpuquant.quantization.options import options_of
from gpuquant.quantization.result import QuantizedImage
from gpuquant.quantization.steps import Progress, count_image, fit_colors, fit_to_palette, map_image, palette_of


def quantize(
    image: ImageLike,
    n_colors: int | None = None,
    *,
    target_psnr: float | None = None,
    effort: str = "default",
    color_space: str = "srgb",
    weighting: float = 1.0,
    device: str | torch.device = "auto",
    init: PaletteLike = "k-means++",
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
    progress: Progress = None,
) -> QuantizedImage:
    """Reduce an image to its `n_colors` k-means colors.

    All pixels take part, none is sampled: they are counted into an exact histogram, k-means runs on the distinct
    colors with their counts, and every pixel is then looked up. Labels and error refer to the rounded palette.

    Parameters
    ----------
    image : path, URL, bytes, open file, Pillow image, or array or tensor [H, W, 3], [H, W, 4] or [H, W]
        RGB, RGB with alpha, or gray; a file that is open, for reading bytes, is read from its start. Arrays and tensors
        are uint8, or floats from 0 to 1, which are rounded to 8 bits. OpenCV's images are BGR: pass
        `image[..., ::-1]`. Files are turned upright and converted to sRGB by their profiles, also CMYK, Lab and 16
        bits. Clear pixels (alpha 0) take one entry of the palette (of two or more); if others are partly transparent,
        all are clustered in four columns, weighted by alpha, and entries opaque for the most part are made opaque.
    n_colors : int, optional
        K, from 1 to 4096; 8 if there is no target either. The result has exactly K entries, each used by a pixel, or,
        when the image has fewer colors, all of them without loss.
    target_psnr : float, optional
        Take as few colors as reach this PSNR in dB, in place of a given number: one color less does not. It is that
        of the palette on all pixels, before dithering. Palettes are tried with the fast effort first, then a few with
        the one asked for, which takes as many times as long.
    effort : "fast", "default" or "best"
        How long to look for a low error. From starts by k-means++ breathing k-means goes on: it splits clusters where
        the error is large, merges as many, and keeps what lowers the error. "best" does about twice as much of it
        as "default", for up to 0.2 % less error in up to twice the time, and never ends with a higher error where
        distances are taken. "fast", for previews, does little of it, and does not iterate to the end. Other starts
        than k-means++ do without, and are always iterated to the end.
    color_space : "srgb" or "oklab"
        Where distances are taken. In Oklab, with a and b doubled, equal ones look about equal. Entries are sRGB
        nevertheless, and so is `mse`, which is higher.
    weighting : float
        From 1, each pixel counts the same, to 0. A cell of the color cube, of 8 levels a side, with n pixels counts as
        n to this power, so that a lower one gives rare colors more of the palette, and large areas fewer shades. Try
        0.75 for a small accent: a seal, a flower, a lamp.
    device : "auto", "cpu", "cuda", "cuda:1" or torch.device
        "auto" is a tensor's own device; otherwise CUDA where there is one, or else the CPU. The results for a tensor
        are tensors on its device.
    init : "k-means++", "random", or opaque colors
        Where k-means starts. Colors are a palette, or whatever `Palette` takes, such as "#000,#fff"; `n_colors` is then
        their number. Arrays and tensors may also hold floats up to 255.
    n_init : int
        Runs from different starts; the best is kept. On single photos 5 can gain more than effort="best", at five
        times the time.
    max_iter, tol : int, float
        As for `kmeans`; they hold for the iterations on all colors, not for those on coarser cells before, nor for
        settling the rounded palette after. In Oklab and with partly transparent colors they hold for k-means on the
        means of cells, where there are more than two million colors.
    random_state : int
        Seed of the draws. The same input gives the same bits, for any chunk_size and number of threads.
    chunk_size : int, optional
        Bounds the memory for scores in Oklab and with alpha, as for `kmeans`; changes no result.
    max_pixels : int
        A file with more is refused before it is decoded: a small file can hold a huge picture.
    preview : bool
        Take the small preview of a raw photo, or of a TIFF that begins with a smaller copy; they are refused otherwise.
    background : str or (int, int, int), optional
        What transparent images are laid onto, such as "white" or "#ffffff"; the result is then opaque.
    keep_profile : bool
        Cluster the levels as they are stored, and keep the embedded RGB profile with the result, in place of
        converting to sRGB. Gray, CMYK and Lab are converted nevertheless, with a warning.
    dither : "none", "floyd-steinberg", "blue-noise" or "bayer"
        Mix entries so that neighboring pixels average to what they show: gradients go on where flat areas would end in
        edges. "floyd-steinberg" diffuses each pixel's error to the next ones, exactly as row by row, and keeps most
        detail. "blue-noise" and "bayer" choose by a mask among the entries that mix to a color, four at most: faster,
        and unchanged areas stay unchanged from picture to picture. Blue noise has the least visible pattern; that of
        "bayer" is regular, which suits pixel art and compresses better. Only opaque pixels are dithered, and colors
        that are entries stay what they are. The palette is not fitted to it: an entry may then be unused, and the error
        of single pixels is higher.
    dither_strength : float
        From 0, as "none", to 1: the part of each error that is diffused, in 128ths, or of the way between entries in
        which several are used. Less means less grain and more of the edges; with a mask the least of it leaves each
        color the largest part of its mixture, which need not be the nearest entry.
    progress : callable, optional
        Called with the name of each stage as it begins: "read", "count", "cluster" and "map".

    Returns
    -------
    QuantizedImage

    Raises
    ------
    ArgumentError
        An argument cannot be used, for example an image of 16-bit numbers.
    ImageFileError
        The file cannot be read.
    DeviceError
        The device is not there.
    TargetError
        4096 colors do not reach the target.

    Notes
    -----
    k-means goes from coarse to fine: it starts on the means of the cells of a coarser color cube and ends on all
    distinct colors, with over-relaxed Lloyd steps, and breathing k-means between the two (B. Fritzke 2020, "The
    breathing k-means algorithm"). The rounded palette is settled by Lloyd steps on integers. Sources: D. Arthur and
    S. Vassilvitskii 2007, "k-means++: the advantages of careful seeding"; S. Lloyd 1982, "Least squares quantization
    in PCM"; B. Ottosson 2020, "A perceptual color space for image processing" (Oklab). The dithers are those of
    R. W. Floyd and L. Steinberg 1976, R. Ulichney 1993 (void and cluster: blue noise) and B. E. Bayer 1973.

    In Oklab and with partly transparent colors, more than two million colors are folded to cells before k-means,
    and settled as they are; coordinates in Oklab are rounded to 1/256 of a level. Floyd-Steinberg clamps levels to
    0..255 and cuts errors at the widest gap between entries, or at half of it where they lie close together: errors
    that no mixture can make up for would smear. On the CPU Numba compiles the loops when they are first used, which
    takes some seconds, once: it keeps them on disk.

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

    As few colors as reach a quality:

    >>> stripes = np.array([[0], [10], [200], [210]], dtype=np.uint8).repeat(8, axis=1)
    >>> result = gpuquant.quantize(stripes, target_psnr=34)
    >>> len(result.palette), round(result.psnr, 2)
    (2, 34.15)

    Dithered, here by a mask, two colors go over into each other:

    >>> ramp = np.tile(np.arange(0, 256, 17, dtype=np.uint8), (4, 1))
    >>> gpuquant.quantize(ramp, 2, dither="bayer").labels
    array([[1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
           [1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0],
           [1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
           [1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]], dtype=uint8)
    """
    start = as_start(init)
    n_colors = n_colors_of(start, n_colors, target_psnr)
    search = check_search(n_colors, target_psnr, color_space, weighting, effort, random_state)
    check_settings(n_init, max_iter, tol, random_state, chunk_size)
    check_positive("max_pixels", max_pixels)
    target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=True)
    loaded = count_image(image, target, max_pixels, behind, keep_profile, preview, progress)
    _warn(image, loaded.notes)
    fit = fit_colors(loaded, search, init=start, n_init=n_init, max_iter=max_iter, tol=tol, chunk_size=chunk_size)
    options = options_of(
        search,
        preview=preview,
        background=behind,
        keep_profile=keep_profile,
        dither=dithering,
        init=start,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
    )
    return map_image(image, loaded, fit, dither=dithering, options=options)


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
    memory: int | str | None = None,
    progress: Progress = None,
    counted: Callable[[float], None] | None = None,
) -> Palette:
    """The `n_colors` k-means colors of one image, or of all pixels of many.

    Images are counted one after the other, files strip by strip, and only their distinct colors are kept.

    Parameters
    ----------
    images : image or iterable of images
        Each as `quantize` takes it, or rows of pixels [N, 3] or, with alpha, [N, 4]. A generator is read one by one.
    n_colors, target_psnr, effort, color_space, weighting, device, random_state, chunk_size, max_pixels, preview, \
    background, progress
        As for `quantize`.
    memory : str or int, optional
        As for `quantize_file`.
    counted : callable, optional
        Called with the share of an image that is counted, from 0 to 1, strip by strip.

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
    check_chunk_size(chunk_size)
    check_positive("max_pixels", max_pixels)
    behind = None if background is None else parse_color(background)
    single = is_image_like(images)
    if not single and not isinstance(images, Iterable):
        raise ArgumentError(f"images must be one image or several, got {type(images).__name__}")
    every: Iterable[ImageLike] = [images] if single else images  # type: ignore[list-item, assignment]
    budget = budget_of(memory, as_floats=color_space != "srgb")

    def tell(stage: str, share: float) -> None:
        if progress and share == 0:
            progress(stage)
        if counted and stage == "count":
            counted(share)

    total: ColorHistogram | None = None
    for number, image in enumerate(every):
        target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
        try:
            loaded = count_once(
                image, target, budget, max_pixels=max_pixels, preview=preview, background=behind, progress=tell
            )
        except ArgumentError as error:
            raise error if single else ArgumentError(f"images[{number}]: {error}") from None
        _warn(image, loaded.notes)
        total = ColorHistogram(target) if total is None else total
        total.add_counted(loaded.colors, loaded.counts)
    if total is None:
        raise ArgumentError("images is empty; give at least one")
    if progress:
        progress("cluster")
    return palette_of(total.colors, total.counts, search, chunk_size)


def apply_palette(
    image: ImageLike,
    palette: PaletteLike,
    *,
    device: str | torch.device = "auto",
    chunk_size: int | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
    dither: str = "none",
    dither_strength: float = 1.0,
    progress: Progress = None,
) -> QuantizedImage:
    """Give every pixel of an image the nearest entry of a given palette, the first of equal ones, or dither.

    Parameters
    ----------
    image, device, chunk_size, max_pixels, preview, background, dither, dither_strength, progress
        As for `quantize`.
    palette : Palette, or whatever it takes
        For example a list of colors, a text such as "#000,#fff", or a path. It has from 1 to 65536 entries, whose order
        is kept. If one of them is partly transparent or the image is, distances are those of four columns, weighted by
        alpha. A palette without a clear entry gets one at its end for an image with clear pixels. Dithered by a mask
        with few inks, the mean of a flat area is within two levels of every color that they can mix; where entries
        lie close together (less than 32 levels) it is let off a little for less grain. Masks mix from 4096 entries at
        most.

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
    >>> gpuquant.apply_palette(np.array([[10, 200]], np.uint8), "black, white").labels.tolist()
    [[0, 1]]
    """
    given = palette_to_apply(palette)
    check_chunk_size(chunk_size)
    check_positive("max_pixels", max_pixels)
    target = resolve_device(device, tensor_device=image.device if isinstance(image, Tensor) else None)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=False)
    loaded = count_image(image, target, max_pixels, behind, False, preview, progress)
    _warn(image, loaded.notes)
    fit = fit_to_palette(loaded, given, chunk_size)
    options = options_of(given, preview=preview, background=behind, keep_profile=False, dither=dithering)
    return map_image(image, loaded, fit, in_order=True, dither=dithering, options=options)


def _warn(image: ImageLike, notes: Sequence[str]) -> None:
    name = name_of(image, "the image")
    for note in notes:
        warnings.warn(f"{name}: {note}", stacklevel=3)

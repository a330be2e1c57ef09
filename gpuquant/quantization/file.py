"""quantize_file(): from one file to another, strip by strip, however many pixels it has."""

import warnings

import torch

from gpuquant.arguments import MAX_PIXELS, check_compression, check_positive
from gpuquant.devices import resolve_device
from gpuquant.dithering.methods import check_dither
from gpuquant.fitting.search import check_not_searched, check_search
from gpuquant.images.loading import parse_color
from gpuquant.images.sources import ImageSource, Source, as_source, name_of
from gpuquant.images.strips import photo_size
from gpuquant.images.targets import ImageTarget, check_target
from gpuquant.images.writing import check_format
from gpuquant.locations import temporary_folder
from gpuquant.palettes.palette import PaletteLike
from gpuquant.palettes.parsing import palette_to_apply
from gpuquant.quantization.file_steps import (
    FileProgress,
    FileResult,
    PaletteFound,
    budget_of,
    check_result,
    count_file,
    map_to_file,
    open_file,
)
from gpuquant.quantization.options import options_of
from gpuquant.quantization.steps import fit_colors, fit_to_palette


def quantize_file(
    source: ImageSource | Source,
    target: ImageTarget,
    n_colors: int | None = None,
    *,
    palette: PaletteLike | None = None,
    target_psnr: float | None = None,
    effort: str = "default",
    color_space: str = "srgb",
    weighting: float = 1.0,
    device: str | torch.device = "auto",
    random_state: int = 0,
    memory: int | str | None = None,
    max_pixels: int = MAX_PIXELS,
    preview: bool = False,
    background: str | tuple[int, int, int] | None = None,
    keep_profile: bool = False,
    image_format: str | None = None,
    compression: int | None = None,
    dither: str = "none",
    dither_strength: float = 1.0,
    found: PaletteFound | None = None,
    progress: FileProgress | None = None,
) -> FileResult:
    """Quantize a photo of any size from a file to a file, without holding its pixels or labels in memory.

    Pixels are counted strip by strip, the palette is found as `quantize` finds it, and strips are looked up and written
    as they come: palette, labels and error are the same. A photo that fits into the memory is decoded once, a larger
    one twice, or its pixels wait in a temporary file beside the target where they have to be turned.

    Parameters
    ----------
    source : path, URL, bytes or open file
        JPEG, PNG, TIFF and BigTIFF are decoded in strips with the extra "large", and arrays in .npy files mapped into
        memory. What cannot be decoded in strips is read whole if it fits.
    target : path, URL or binary file object
        A PNG, TIFF (tiled; a BigTIFF where it has more than 4 GiB) or GIF. It is whole or not there. An object gets the
        bytes when all are there: more than 64 MB wait in a temporary file, in the folder that the system (TMPDIR) has
        for these.
    n_colors, target_psnr, effort, color_space, weighting, device, random_state, max_pixels, preview, background, \
    keep_profile, dither, dither_strength
        As for `quantize`.
    palette : Palette, or whatever it takes, optional
        Apply it, in place of finding one, as `apply_palette` does; it excludes whatever says how to find one.
    memory : str or int, optional
        How much may be used, such as "2GB"; a quarter of what is free, at least 512 MB, if not given.
    image_format, compression
        As for `QuantizedImage.save`.
    found : callable, optional
        Called with the palette before anything is written; not with a given one that is dithered, whose shares nobody
        knows by then.
    progress : callable, optional
        Called with the name of a stage and the share of it that is done, from 0 to 1: "read", "count", "cluster",
        "map", and "write" where dithered labels wait until the order of their entries is known. A photo that is turned
        by way of a file is "read" after "count" has begun.

    Returns
    -------
    FileResult

    Raises
    ------
    ArgumentError, ImageFileError, DeviceError, TargetError
        As `quantize` and `QuantizedImage.save`.

    Examples
    --------
    >>> import gpuquant, numpy as np, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/photo.npy", np.eye(5, dtype=np.uint8) * 200)
    ...     result = gpuquant.quantize_file(f"{folder}/photo.npy", f"{folder}/two.png", 2)
    >>> result.palette.hex, result.counts.tolist(), result.mse
    (('#000000', '#c8c8c8'), [20, 5], 0.0)
    """
    given = None if palette is None else palette_to_apply(palette)
    search = check_search(n_colors, target_psnr, color_space, weighting, effort, random_state)
    if given is not None:
        check_not_searched(n_colors, search)
    check_positive("max_pixels", max_pixels)
    check_compression(compression)
    on = resolve_device(device)
    behind = None if background is None else parse_color(background)
    dithering = check_dither(dither, dither_strength, fitted=given is None)
    budget = budget_of(memory, as_floats=color_space != "srgb")
    n_entries = len(given) if given is not None else search.n_colors or 1
    alpha = None if given is None else given.alpha
    check_format(target, n_entries, image_format=image_format, alpha=alpha)
    check_target(target)
    readable = as_source(source)
    check_result(target, n_entries, photo_size(readable, max_pixels), budget, image_format)
    seconds: dict[str, float] = {}
    opened = open_file(
        readable,
        budget,
        seconds,
        max_pixels=max_pixels,
        preview=preview,
        folder=temporary_folder(target),
        progress=progress,
    )
    with opened as photo:
        kept = photo.icc_profile if keep_profile else None
        check_result(target, n_entries, photo.shape[::-1], budget, image_format, kept)
        counted = count_file(
            photo, on, budget, seconds, background=behind, keep_profile=keep_profile, progress=progress
        )
        for note in counted.notes:
            warnings.warn(f"{name_of(source, 'the image')}: {note}", stacklevel=2)
        fit = fit_colors(counted, search) if given is None else fit_to_palette(counted, given)
        options = options_of(
            search if given is None else given,
            preview=preview,
            background=behind,
            keep_profile=keep_profile,
            dither=dithering,
        )
        return map_to_file(
            counted,
            fit,
            target,
            budget,
            in_order=given is not None,
            dither=dithering,
            options=options,
            image_format=image_format,
            compression=compression,
            found=found,
            progress=progress,
        )

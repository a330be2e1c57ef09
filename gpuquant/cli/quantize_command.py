"""The command for one photo."""

import warnings
from typing import Any

from gpuquant.arguments import MAX_PIXELS
from gpuquant.cli.options import (
    AsJson,
    Background,
    Colors,
    ColorSpace,
    Compression,
    Device,
    DitherMethod,
    DitherStrength,
    Effort,
    ErrorMap,
    Force,
    KeepProfile,
    MaxPixels,
    Memory,
    Out,
    PaletteFile,
    Photo,
    Preview,
    Quiet,
    Seed,
    SideBySide,
    TargetPsnr,
    Weighting,
    check_strength,
    maybe_place,
)
from gpuquant.cli.output import Outputs, report
from gpuquant.cli.photo import STANDARD, given_photo, name_of_photo
from gpuquant.cli.stages import shown_stages
from gpuquant.locations import place_of


def quantize(
    photo: Photo,
    out: Out = None,
    colors: Colors = None,
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = None,
    palette_file: PaletteFile = None,
    side_by_side: SideBySide = None,
    error_map: ErrorMap = None,
    as_json: AsJson = False,
    force: Force = False,
    background: Background = None,
    keep_profile: KeepProfile = False,
    preview: Preview = False,
    compression: Compression = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    memory: Memory = None,
    device: Device = "auto",
    random_state: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Reduce a photo to its k-means colors and write it as an indexed image.

    All pixels count. The palette is printed with the share of each color, then the error: MSE is the mean over pixels
    of the squared differences, summed over R, G and B.
    """
    from gpuquant.fitting.search import check_search
    from gpuquant.quantization.recipes import quantize as quantize_image

    if quiet:
        warnings.simplefilter("ignore")
    search = check_search(colors, target_psnr, color_space, weighting, effort, random_state)
    strength = check_strength(dither, dither_strength)
    wanted = f"{search.n_colors} colors" if search.n_colors else f"{target_psnr:g} dB"
    place = place_of(photo)
    beside = STANDARD if place == STANDARD else place.with_name(f"{place.stem}-{wanted.replace(' ', '-')}.png")
    target = beside if out is None else place_of(out)
    outputs = Outputs(target, maybe_place(side_by_side), maybe_place(error_map), maybe_place(palette_file))
    outputs.check(search.n_colors or 1, [] if place == STANDARD else [place], force)
    with shown_stages(f"Quantizing {name_of_photo(place)} to {wanted}") as progress:
        given = given_photo(place)
        progress.begin(given, max_pixels)
        settings: dict[str, Any] = {
            "n_colors": colors,
            "device": device,
            "effort": effort,
            "color_space": color_space,
            "weighting": weighting,
            "target_psnr": target_psnr,
            "random_state": random_state,
            "max_pixels": max_pixels,
            "preview": preview,
            "background": background,
            "keep_profile": keep_profile,
            "dither": dither,
            "dither_strength": strength,
            "progress": progress,
        }
        result = outputs.make(quantize_image, given, settings, compression=compression, memory=memory)
    if as_json or not quiet:
        report(result, outputs, as_json=as_json)

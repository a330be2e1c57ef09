"""The commands for palettes: finding that of photos, and applying a given one."""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuquant.cli_options import (
    AsJson,
    Background,
    Colors,
    ColorSpace,
    Compression,
    Device,
    DitherMethod,
    DitherStrength,
    Effort,
    Force,
    MaxPixels,
    Photo,
    Preview,
    Seed,
    TargetPsnr,
    Weighting,
)
from gpuquant.cli_output import check_outputs, color_block, print_result, summary
from gpuquant.errors import ArgumentError

if TYPE_CHECKING:
    from gpuquant.palette import Palette

ORDERS = ("share", "luminance", "hue")

Photos = Annotated[list[Path], typer.Argument(help="The photos to read.", show_default=False)]
Format = Annotated[str | None, typer.Option("--format", help="Print the palette as hex, css, json, gpl or txt.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Also write it: .hex, .gpl, .ase, .act, .txt, .css, .json or .png."),
]
Sort = Annotated[
    str,
    typer.Option(
        help="share: the most common color first; luminance: from dark to light; hue: greys from dark to light, then "
        "from pink over red, green and blue to purple.",
    ),
]
PaletteToApply = Annotated[
    Path,
    typer.Argument(help="A palette: .hex, .gpl, .ase, .act, .txt, .css, .json or .png.", show_default=False),
]
Result = Annotated[Path, typer.Argument(help="What to write: .png, .tif or .gif.", show_default=False)]


def palette(
    photos: Photos,
    colors: Colors = None,
    text_format: Format = None,
    out: Out = None,
    sort: Sort = "share",
    device: Device = "auto",
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    random_state: Seed = 0,
    max_pixels: MaxPixels = 500_000_000,
    preview: Preview = False,
    background: Background = None,
    force: Force = False,
) -> None:
    """Find the k-means palette of a photo, or of all pixels of several.

    On a terminal each color is shown with its share of the pixels and the nearest CSS name. Elsewhere each is a line:
    the color, its share from 0 to 1 and the name, with tabs between.
    """
    from rich.console import Console

    from gpuquant.palette_files import TEXT_ENDINGS, check_palette_format, palette_text, write_palette
    from gpuquant.palette_order import hue_order, luminance_order
    from gpuquant.palette_search import check_search
    from gpuquant.quantization import extract_with_counts

    if sort not in ORDERS:
        raise ArgumentError(f"--sort {sort} is unknown; use {', '.join(ORDERS)}")
    ending = f".{text_format}".lower()
    if text_format is not None and ending not in TEXT_ENDINGS:
        known = ", ".join(known[1:] for known in TEXT_ENDINGS)
        raise ArgumentError(f"--format {text_format} is no format of text; use {known}, or name a file with --out")
    search = check_search(colors, target_psnr, color_space, weighting, effort, random_state)
    if out:
        check_palette_format(out, search.n_colors or 1)
        check_outputs(photos, [out], force)
    with Console(stderr=True).status(f"Finding the palette of {len(photos)} photo{'s' * (len(photos) > 1)}"):
        found, counts = extract_with_counts(
            photos,
            search,
            device=device,
            max_pixels=max_pixels,
            preview=preview,
            background=background,
        )
    if sort != "share":
        order = (luminance_order if sort == "luminance" else hue_order)(found)
        rows, counts = found.rows[order], counts[order]
        found = dataclasses.replace(found, colors=rows[:, :3], alpha=None if found.alpha is None else rows[:, 3])
    printed = palette_text(found, ending) if text_format is not None else None
    if out:
        write_palette(found, out)
    if printed is None:
        _print_palette(found, (counts / counts.sum()).tolist())
    else:
        sys.stdout.write(printed)
    if out:
        sys.stderr.write(f"wrote {out}\n")  # standard output is the palette


def apply(
    palette: PaletteToApply,
    photo: Photo,
    out: Result,
    device: Device = "auto",
    as_json: AsJson = False,
    force: Force = False,
    max_pixels: MaxPixels = 500_000_000,
    preview: Preview = False,
    compression: Compression = None,
    background: Background = None,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = 1.0,
) -> None:
    """Give every pixel of a photo the nearest color of a palette, whose order is kept, or dither."""
    from rich.console import Console

    from gpuquant.image_reading import read_size
    from gpuquant.image_writing import check_format
    from gpuquant.palette_files import read_palette
    from gpuquant.quantization import apply_palette

    check_outputs([palette, photo], [out], force)
    check_format(out, 0)
    given = read_palette(palette)
    check_format(out, len(given), size=read_size(photo, max_pixels=max_pixels), alpha=given.alpha)
    with Console(stderr=True).status(f"Applying {palette.name} to {photo.name}"):
        result = apply_palette(
            photo,
            given,
            device=device,
            max_pixels=max_pixels,
            preview=preview,
            background=background,
            dither=dither,
            dither_strength=dither_strength,
        )
        start = time.perf_counter()
        result.save(out, compression=compression)
        seconds = result.seconds | {"write": time.perf_counter() - start}
    result = dataclasses.replace(result, seconds=seconds)
    if as_json:
        sys.stdout.write(json.dumps(summary(result, [out])) + "\n")
    else:
        print_result(Console(highlight=False), result, [out], is_palette_given=True)


def _print_palette(palette: "Palette", shares: list[float]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for color, share, name in zip(palette.hex, shares, palette.names(), strict=True):
        if console.is_terminal:
            console.print(f"{color_block(console, color)}{color}  {share:6.2%}  {name}")
        else:
            sys.stdout.write(f"{color}\t{share:.6f}\t{name}\n")

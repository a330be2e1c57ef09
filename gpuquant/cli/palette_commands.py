"""The commands for palettes: finding that of photos, and applying a given one."""

import dataclasses
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gpuquant.arguments import MAX_PIXELS
from gpuquant.cli.options import (
    RESULTS,
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
    MaxPixels,
    Memory,
    Photo,
    Preview,
    Quiet,
    Seed,
    SideBySide,
    TargetPsnr,
    Weighting,
    check_strength,
    maybe_place,
    note_little,
)
from gpuquant.cli.output import Outputs, check_outputs, color_block, report
from gpuquant.cli.photo import STANDARD, given_photo, name_of_photo
from gpuquant.cli.stages import shown_stages
from gpuquant.cli.words import printable
from gpuquant.errors import ArgumentError
from gpuquant.locations import place_of
from gpuquant.palettes.registry import FORMATS, endings

if TYPE_CHECKING:  # types are known before the program runs, tables are not
    from gpuquant.palettes.palette import Palette

    TextFormat = str
else:
    TextFormat = Literal[tuple(ending[1:] for ending, form in FORMATS.items() if form.kind == "text")]

MANY_ENTRIES = 4096  # more than quantize gives

Photos = Annotated[
    list[str], typer.Argument(metavar="PHOTO", help="The photos to read, or - for standard input.", show_default=False)
]
Format = Annotated[
    TextFormat | None,
    typer.Option("--format", help="Print the palette as one of these."),
]
Out = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="FILE", help=f"Also write it: {endings()}."),
]
Sort = Annotated[
    Literal["share", "luminance", "hue"],
    typer.Option(
        help="share: the most common color first; luminance: from dark to light; hue: grays from dark to light, then "
        "from pink over red, green and blue to purple.",
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        metavar="WORD", help="What CSS variables are called: brand for --brand-1 and so on, in place of color."
    ),
]
PaletteToApply = Annotated[
    str,
    typer.Argument(
        metavar="PALETTE",
        help=f'Colors, such as "#000,#fff,tomato", or a file: {endings()}.',
        show_default=False,
    ),
]
Result = Annotated[
    str,
    typer.Argument(
        metavar="OUT", help=f"What to write ({RESULTS}), or - for a PNG on standard output.", show_default=False
    ),
]


def palette(
    photos: Photos,
    colors: Colors = None,
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    sort: Sort = "share",
    text_format: Format = None,
    prefix: Prefix = None,
    out: Out = None,
    force: Force = False,
    background: Background = None,
    preview: Preview = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    memory: Memory = None,
    device: Device = "auto",
    random_state: Seed = 0,
) -> None:
    """Find the k-means palette of a photo, or of all pixels of several.

    On a terminal each color is shown with its share of the pixels and its name. Elsewhere each is a line: the color,
    its share from 0 to 1 and the name, with tabs between.
    """
    from gpuquant.fitting.search import check_search
    from gpuquant.palettes.files import check_prefix, palette_text, write_palette
    from gpuquant.palettes.formats import check_palette_format
    from gpuquant.palettes.order import hue_order, luminance_order
    from gpuquant.quantization.recipes import extract_palette

    search = check_search(colors, target_psnr, color_space, weighting, effort, random_state)
    out_ending = "" if out is None else check_palette_format(out, search.n_colors or 1)
    ending = f".{text_format}" if text_format else ""
    check_prefix(prefix, ending, out_ending)
    note_little(memory)
    places, target = [place_of(photo) for photo in photos], maybe_place(out)
    if places.count(STANDARD) > 1:
        raise ArgumentError("- is given twice, but standard input holds one photo")
    if target:
        check_outputs([place for place in places if place != STANDARD], [target], force)
    photo_or_photos = name_of_photo(places[0]) if len(places) == 1 else f"{len(places)} photos"
    with shown_stages(f"Finding the palette of {photo_or_photos}", n_photos=len(places)) as progress:
        found = extract_palette(
            progress.each(places, max_pixels),
            colors,
            target_psnr=target_psnr,
            effort=effort,
            color_space=color_space,
            weighting=weighting,
            device=device,
            random_state=random_state,
            max_pixels=max_pixels,
            preview=preview,
            background=background,
            memory=memory,
            progress=progress,
            counted=progress.count,
        )
    if sort != "share":
        order = (luminance_order if sort == "luminance" else hue_order)(found)
        parts = {name: part[order] for name, part in vars(found).items() if part is not None}
        found = dataclasses.replace(found, **parts)
    printed = palette_text(found, ending, prefix) if ending else None
    if target:
        write_palette(found, target, prefix=prefix if FORMATS[out_ending].has_variables else None)
    if printed is None:
        _print_palette(found)
    else:
        sys.stdout.write(printed)
    if target:
        sys.stderr.write(f"wrote {printable(str(target))}\n")  # standard output is the palette


def apply(
    palette: PaletteToApply,
    photo: Photo,
    out: Result,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = None,
    side_by_side: SideBySide = None,
    error_map: ErrorMap = None,
    as_json: AsJson = False,
    force: Force = False,
    background: Background = None,
    preview: Preview = False,
    compression: Compression = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    memory: Memory = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Give every pixel of a photo the nearest color of a palette, whose order is kept, or dither."""
    from gpuquant.palettes.formats import is_palette_path
    from gpuquant.palettes.palette import n_colors
    from gpuquant.palettes.parsing import as_palette
    from gpuquant.quantization.recipes import apply_palette

    if quiet:
        warnings.simplefilter("ignore")
    strength = check_strength(dither, dither_strength)
    file = place_of(palette) if is_palette_path(palette) else None
    place = place_of(photo)
    outputs = Outputs(place_of(out), maybe_place(side_by_side), maybe_place(error_map))
    outputs.check(0, [path for path in (file, place) if path and path != STANDARD], force)
    entries = as_palette(palette)
    wanted = file.name if file else n_colors(len(entries))
    if len(entries) > MANY_ENTRIES:
        warnings.warn(f"{file or palette} is taken as a palette of {len(entries)} colors; is it a photo?", stacklevel=1)
    with shown_stages(f"Applying {wanted} to {name_of_photo(place)}") as progress:
        given = given_photo(place)
        progress.begin(given, max_pixels)
        settings: dict[str, Any] = {
            "palette": entries,
            "device": device,
            "max_pixels": max_pixels,
            "preview": preview,
            "background": background,
            "dither": dither,
            "dither_strength": strength,
            "progress": progress,
        }
        result = outputs.make(apply_palette, given, settings, compression=compression, memory=memory)
    if as_json or not quiet:
        report(result, outputs, as_json=as_json, is_palette_given=True)


def _print_palette(palette: "Palette") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    shares = () if palette.shares is None else palette.shares.tolist()
    for color, share, name in zip(palette.hex, shares, palette.names(), strict=True):
        if console.is_terminal:
            console.print(f"{color_block(console, color)}{color}  {share:6.2%}  {name}")
        else:
            sys.stdout.write(f"{color}\t{share:.6f}\t{name}\n")

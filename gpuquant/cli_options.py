"""Arguments and options of the commands."""

from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130

Photo = Annotated[Path, typer.Argument(help="The photo to read.", show_default=False)]
Out = Annotated[
    Path | None,
    typer.Argument(help="What to write (.png, .tif, .gif); without it PHOTO's name with -8-colors.png, beside it."),
]
Colors = Annotated[
    int | None,
    typer.Option("--colors", "-k", min=1, max=4096, help="Size of the palette, 1 to 4096; 8 if not given."),
]
TargetPsnr = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        help="In place of -k, as few colors as reach this PSNR, such as 36; tries several palettes, not dithered.",
        metavar="DB",
    ),
]
ColorSpace = Annotated[
    str,
    typer.Option(
        help="srgb or oklab: where distances are taken. Equal ones look about equal in Oklab.", metavar="SPACE"
    ),
]
Weighting = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Below 1, rare colors get more of the palette; try 0.75, or less, for small accents."
    ),
]
Device = Annotated[str, typer.Option(help='"auto", "cpu", "cuda" or "cuda:1".')]
SideBySide = Annotated[
    Path | None, typer.Option(help="Also write the original and the result next to each other (.png, .jpg).")
]
ErrorMap = Annotated[
    Path | None, typer.Option(help="Also write where the error is: the lighter, the larger (.png, .jpg).")
]
PaletteFile = Annotated[
    Path | None,
    typer.Option("--palette", help="Also write the palette: .hex, .gpl, .ase, .act, .txt, .css, .json or .png."),
]
Effort = Annotated[str, typer.Option(help="fast, default or best: how long to look for a low error.")]
Seed = Annotated[int, typer.Option("--random-state", help="Seed of the random draws.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object instead of a table.")]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse photos with more pixels than this.")]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Take the preview of a raw photo or TIFF that has one, in place of refusing it."),
]
Compression = Annotated[
    int | None, typer.Option(min=0, max=9, help="zlib's level for a PNG, 0 (fast) to 9 (small); chosen if not given.")
]
Background = Annotated[
    str | None,
    typer.Option(help="Lay transparent photos onto this color, such as white or '#ffffff'.", metavar="COLOR"),
]
KeepProfile = Annotated[
    bool, typer.Option("--keep-profile", help="Keep the embedded color profile in place of converting to sRGB.")
]
DitherMethod = Annotated[
    str,
    typer.Option("--dither", help='"none", "floyd-steinberg", "blue-noise" or "bayer".', metavar="METHOD"),
]
DitherStrength = Annotated[float, typer.Option(min=0, max=1, help="How much of it, from 0 to 1.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]

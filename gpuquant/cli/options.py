"""Arguments and options of the commands."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpuquant.errors import ArgumentError

INTERRUPTED = 130

Photo = Annotated[
    Path, typer.Argument(metavar="PHOTO", help="The photo to read, or - for standard input.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Argument(
        metavar="OUT",
        help="What to write (.png, .tif, .gif), or - for a PNG on standard output. If not given, PHOTO's name with "
        "-8-colors.png, beside it; for PHOTO - standard output.",
    ),
]
Colors = Annotated[
    int | None,
    typer.Option("--colors", "-k", min=1, max=4096, metavar="K", help="Size of the palette; 8 if not given."),
]
TargetPsnr = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        help="In place of -k: as few colors as reach this PSNR, such as 36. Tries several palettes, not dithered.",
        metavar="DB",
    ),
]
ColorSpace = Annotated[
    Literal["srgb", "oklab"],
    typer.Option(help="Where distances are taken. In oklab equal ones look about equal."),
]
Weighting = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="W",
        help="Below 1, rare colors get more of the palette; try 0.75, or less, for small accents.",
    ),
]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1; auto is CUDA where there is one.")
]
SideBySide = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the original and the result next to each other (.png, .jpg)."),
]
ErrorMap = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write where the error is: the lighter, the larger (.png, .jpg)."),
]
PaletteFile = Annotated[
    Path | None,
    typer.Option(
        "--palette",
        metavar="FILE",
        help="Also write the palette: .hex, .gpl, .ase, .act, .txt, .css, .json or .png.",
    ),
]
Effort = Annotated[Literal["fast", "default", "best"], typer.Option(help="How long to look for a low error.")]
Seed = Annotated[int, typer.Option("--random-state", metavar="N", help="Seed of the random draws.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object instead of a table.")]
MaxPixels = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Refuse photos with more pixels than this, before decoding them; 500 million if not given.",
        show_default=False,
    ),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Take the preview of a raw photo or TIFF that has one, in place of refusing it."),
]
Compression = Annotated[
    int | None,
    typer.Option(
        min=0, max=9, metavar="LEVEL", help="zlib's level for a PNG: 0 is fast, 9 small; chosen if not given."
    ),
]
Background = Annotated[
    str | None,
    typer.Option(help="Lay transparent photos onto this color, such as white or '#ffffff'.", metavar="COLOR"),
]
KeepProfile = Annotated[
    bool, typer.Option("--keep-profile", help="Keep the embedded color profile in place of converting to sRGB.")
]
DitherMethod = Annotated[
    Literal["none", "floyd-steinberg", "blue-noise", "bayer"],
    typer.Option("--dither", help="Mix colors so that neighboring pixels average to the photo's."),
]
DitherStrength = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="S", help="How much of the dither, from 0 to 1; all of it if not given."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


def end_at_once(*_: object) -> None:
    """Handle an interrupt while libraries are imported, which would take an exception for a missing part of theirs.

    Nothing is lost, as nothing has been written.
    """
    sys.stderr.write("gpuquant: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def begin() -> None:
    """Take interrupts as exceptions from now on: the libraries are there."""
    if signal.getsignal(signal.SIGINT) is end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def check_strength(dither: str, strength: float | None) -> float:
    """How much to dither.

    Raises
    ------
    ArgumentError
        A strength is given, but no method.
    """
    if strength is not None and dither == "none":
        raise ArgumentError("--dither-strength says how much of a dither; name one with --dither")
    return 1.0 if strength is None else strength

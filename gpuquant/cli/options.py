"""Arguments and options of the commands."""

import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpuquant.colors.registry import SPACES
from gpuquant.dithering.registry import METHODS
from gpuquant.errors import ArgumentError, size_in_words
from gpuquant.images.registry import picture_endings, result_endings
from gpuquant.locations import Place, place_of
from gpuquant.memory import LEAST_WITH_EFFECT, parse_memory
from gpuquant.palettes.registry import endings

if TYPE_CHECKING:  # types are known before the program runs, tables are not
    SpaceName = str
    MethodName = str
else:
    SpaceName = Literal[tuple(SPACES)]
    MethodName = Literal[tuple(METHODS)]

INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
LITTLE = f"less than {size_in_words(LEAST_WITH_EFFECT)} is taken as that much"
RESULTS, PICTURES = ", ".join(result_endings()), ", ".join(picture_endings())

Photo = Annotated[
    str, typer.Argument(metavar="PHOTO", help="The photo to read, or - for standard input.", show_default=False)
]
Out = Annotated[
    str | None,
    typer.Argument(
        metavar="OUT",
        help=f"What to write ({RESULTS}), or - for a PNG on standard output. If not given, PHOTO's name with "
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
    SpaceName,
    typer.Option(
        help=" ".join(["Where distances are taken.", *(space.help for space in SPACES.values() if space.help)])
    ),
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
    str | None,
    typer.Option(metavar="FILE", help=f"Also write the original and the result next to each other ({PICTURES})."),
]
ErrorMap = Annotated[
    str | None,
    typer.Option(metavar="FILE", help=f"Also write where the error is: the lighter, the larger ({PICTURES})."),
]
PaletteFile = Annotated[
    str | None,
    typer.Option(
        "--palette",
        metavar="FILE",
        help=f"Also write the palette: {endings()}.",
    ),
]
Effort = Annotated[
    Literal["fast", "default", "best"],
    typer.Option(help="How long to look for a low error; best: up to 0.2 % less, in up to twice the time."),
]
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
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="2GB",
        help="How much memory a photo may take, whatever its size; a quarter of what is free, at least 512 MB, if not "
        f"given; {LITTLE}.",
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
        min=0, max=9, metavar="LEVEL", help="zlib's level for a PNG or TIFF: 0 is fast, 9 small; chosen if not given."
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
    MethodName,
    typer.Option(
        "--dither",
        help="Mix colors so that neighboring pixels average to the photo's: smooth skies and skin. "
        f"{', '.join(f'{name} {method.help}' for name, method in METHODS.items() if method.help)}.",
    ),
]
DitherStrength = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="S", help="How much of the dither, from 0 to 1; all of it if not given."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors, and what --json asks for.")]


def end_at_once(*_: object) -> None:
    """Handle an interrupt while libraries are imported: they would take an exception for a missing part of theirs.

    Nothing is lost, as nothing has been written.
    """
    sys.stderr.write("gpuquant: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def take_interrupts() -> None:
    """Take interrupts as exceptions from now on: the libraries are imported."""
    if signal.getsignal(signal.SIGINT) is end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def maybe_place(text: str | None) -> Place | None:
    """The place that an option names, where it is given."""
    return None if text is None else place_of(text)


def note_little(memory: str | None) -> None:
    """Warn where less memory is allowed than any photo is held to."""
    if memory is not None and parse_memory(memory) < LEAST_WITH_EFFECT:
        warnings.warn(f"--memory {memory}: {LITTLE}", stacklevel=2)


def check_strength(dither: str, strength: float | None) -> float:
    """The strength of dithering: 1 unless another one is given, which needs a method.

    Raises
    ------
    ArgumentError
        A strength is given, but no method.
    """
    if strength is not None and dither == "none":
        raise ArgumentError("--dither-strength says how much of a dither; name one with --dither")
    return 1.0 if strength is None else strength

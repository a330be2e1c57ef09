"""The command that compares quantisers on the user's own machine."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuquant.cli_options import Device, Force, MaxPixels
from gpuquant.cli_output import check_outputs

if TYPE_CHECKING:
    from gpuquant.benchmark import Measurement

QUICK_MEGAPIXELS = 3.0
QUICK_SIZE, SIZE = (2120, 1415), (4531, 3023)  # of china.jpg
ROUNDS = 5
QUICK_SECONDS, SECONDS = 2.0, 60.0  # after which a quantiser is not run again

Photo = Annotated[Path | None, typer.Argument(help="A photo; china.jpg, enlarged to 13.7 megapixels, if not given.")]
Colors = Annotated[int, typer.Option("--colors", "-k", min=1, max=256, help="Size of the palettes, 1 to 256.")]
Quick = Annotated[bool, typer.Option("--quick", help="The photo made smaller, to 3 megapixels, and fewer runs.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Also write the figures as JSON.")]


def bench(
    photo: Photo = None,
    colors: Colors = 16,
    quick: Quick = False,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
    max_pixels: MaxPixels = 500_000_000,
) -> None:
    """Compare gpuquant with scikit-learn, faiss, OpenCV, libimagequant and Pillow, on this machine.

    What is not installed is a line below the table; pip install gpuquant[bench] brings it. Times are medians, from
    pixels in memory to a palette and one label for each pixel; errors are those of the result as written.
    """
    from rich.console import Console

    from gpuquant.benchmark import machine, measure, quantizers, read_pixels, sample_photo
    from gpuquant.files import whole_file

    if out:
        check_outputs([photo] if photo else [], [out], force)
    every = quantizers(device)
    if photo:
        pixels = read_pixels(photo, QUICK_MEGAPIXELS if quick else None, max_pixels)
    else:
        pixels = sample_photo(*(QUICK_SIZE if quick else SIZE))
    height, width, _ = pixels.shape
    about = machine() | {"width": width, "height": height, "n_colors": colors}
    described = f"{about['processor']}, {about['cores']} cores, torch {about['torch']}"
    sys.stdout.write(f"{width} x {height} pixels, {colors} colors; {described}\n\n")
    found, seconds = [], QUICK_SECONDS if quick else SECONDS
    with Console(stderr=True).status("") as status:
        for quantizer in every:
            status.update(quantizer.name)
            found.append(measure(quantizer, pixels, colors, rounds=ROUNDS, most_seconds=seconds))
    sys.stdout.write(table(found))
    if out:
        rows = [dataclasses.asdict(one) for one in found]
        with whole_file(out) as file:
            file.write(json.dumps(about | {"measurements": rows}, indent=1).encode() + b"\n")
        sys.stderr.write(f"wrote {out}\n")


def table(measurements: "list[Measurement]") -> str:
    """Markdown that is readable as it is, and a line for each quantiser that could not run."""
    done = [one for one in measurements if one.seconds]
    rows = [("", "s", "of the first", "MP/s", "peak MB", "colors", "MSE", "PSNR dB"), ("---", *["---:"] * 7)]
    for one in done:
        memory = "" if one.peak_megabytes is None else f"{one.peak_megabytes:.0f}"
        times = f"{one.median:.3f}", f"{one.median / done[0].median:.2f}", f"{one.megapixels_per_second:.1f}"
        rows.append(
            (f"{one.name}, {one.version}", *times, memory, str(one.n_colors), f"{one.mse:.2f}", f"{one.psnr:.2f}")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {row[0].ljust(widths[0])} | {' | '.join(map(str.rjust, row[1:], widths[1:]))} |" for row in rows]
    lines += [f"not measured: {one.name}: {one.problem}" for one in measurements if not one.seconds]
    return "\n".join(lines) + "\n"

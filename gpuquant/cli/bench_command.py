"""The command that compares quantizers on the user's own machine."""

import dataclasses
import json
import math
import signal
import sys
import time
from typing import Annotated

import typer

from gpuquant.arguments import MAX_PIXELS
from gpuquant.cli.options import INTERRUPTED, Device, Force, MaxPixels, maybe_place, take_interrupts
from gpuquant.cli.output import check_outputs
from gpuquant.cli.words import printable
from gpuquant.errors import ArgumentError

QUICK_MEGAPIXELS = 3.0  # of the user's photo: as many as QUICK_SIZE has
QUICK_SIZE, SIZE = (2120, 1415), (4531, 3023)  # of china.jpg
ROUNDS = 5  # of each quantizer, of which the median is shown
QUICK_SECONDS, SECONDS = 2.0, 60.0  # after which a quantizer is not run again
QUICK_LIMIT, LIMIT = 15.0, 600.0  # seconds after which it is stopped
QUICK_IN_ALL = 115.0  # seconds for all, which with the start of the command are two minutes
NO_TIME = "no time was left of the two minutes; run without --quick"

Photo = Annotated[
    str | None,
    typer.Argument(metavar="PHOTO", help="A photo file; china.jpg, enlarged to 13.7 megapixels, if not given."),
]
Colors = Annotated[int, typer.Option("--colors", "-k", min=1, max=256, metavar="K", help="Size of the palettes.")]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="In two minutes at most: the photo made smaller, to 3 megapixels, and fewer runs."),
]
Out = Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", help="Also write the figures as JSON.")]


def bench(
    photo: Photo = None,
    colors: Colors = 16,
    quick: Quick = False,
    device: Device = "auto",
    out: Out = None,
    force: Force = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Compare gpuquant with scikit-learn, faiss, OpenCV, torch, pngquant, ffmpeg, Pillow and others, on this machine.

    What is not installed is a line below the table; gpuquant's extra "bench" has it all. Times are medians, from
    pixels in memory to a palette and one label for each pixel. Errors are those of the result as written: MSE is the
    mean of squared differences in 8-bit levels, summed over R, G, B. Each quantizer has a process of its own; "first s"
    is what its imports and a first small photo take. gpuquant runs first, then what is known to be fast. What takes
    over ten minutes is stopped, with --quick after 15 seconds, and what would not end within two minutes is not begun.
    """
    from rich.console import Console

    from gpuquant.bench.measuring import (
        Measurement,
        machine,
        measure_apart,
        missing,
        not_measured,
        read_pixels,
        sample_photo,
        stored,
        table,
    )
    from gpuquant.bench.peers import quantizers
    from gpuquant.images.targets import whole_target

    end = time.monotonic() + QUICK_IN_ALL if quick else math.inf
    if photo == "-":
        raise ArgumentError("bench reads no photo from standard input (-); name a file")
    source, target = maybe_place(photo), maybe_place(out)
    take_interrupts()
    if target:
        check_outputs([source] if source else [], [target], force)
    every = quantizers(device)
    if source:
        pixels = read_pixels(source, QUICK_MEGAPIXELS if quick else None, max_pixels)
    else:
        pixels = sample_photo(*(QUICK_SIZE if quick else SIZE))
    height, width, _ = pixels.shape
    about = machine()
    described = f"{about['processor']}, {about['cores']} cores, torch {about['torch']}"
    sys.stdout.write(f"{width} x {height} pixels, {colors} colors; {described}\n")
    sys.stdout.write("s: seconds, median of the runs; MSE: summed over R, G, B\n\n")
    sys.stdout.flush()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    found: dict[str, Measurement] = {}
    most, limit = (QUICK_SECONDS, QUICK_LIMIT) if quick else (SECONDS, LIMIT)
    try:
        with stored(pixels) as file, Console(stderr=True).status("") as status:
            for one in sorted(every, key=lambda one: one.rank):
                status.update(f"{one.name} ({len(found) + 1} of {len(every)})")
                problem = missing(one.package) or (NO_TIME if time.monotonic() + limit > end else "")
                found[one.name] = (
                    not_measured(one, width * height, problem)
                    if problem
                    else measure_apart(one, file, colors, rounds=ROUNDS, most_seconds=most, limit=limit)
                )
    except KeyboardInterrupt:
        if found:
            sys.stdout.write(table([found[one.name] for one in every if one.name in found]))
        sys.stderr.write(f"interrupted after {len(found)} of {len(every)}\n")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    rows = [found[one.name] for one in every]
    sys.stdout.write(table(rows))
    if target:
        name = source.name if source else "china.jpg"
        shown = {
            "kind": "bench",
            "photo": f"{name}, {width} x {height}",
            "n_colors": colors,
            "measurements": [dataclasses.asdict(row) for row in rows],
        }
        with whole_target(target) as file:
            file.write(json.dumps({"machine": about, "tables": [shown], "ratios": []}, indent=1).encode() + b"\n")
        sys.stderr.write(f"wrote {printable(str(target))}\n")

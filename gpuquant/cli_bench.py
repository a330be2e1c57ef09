"""The command that compares quantizers on the user's own machine."""

import dataclasses
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from gpuquant.cli_options import INTERRUPTED, Device, Force, MaxPixels
from gpuquant.cli_output import check_outputs

QUICK_MEGAPIXELS = 3.0
QUICK_SIZE, SIZE = (2120, 1415), (4531, 3023)  # of china.jpg
ROUNDS = 5
QUICK_SECONDS, SECONDS = 2.0, 60.0  # after which a quantizer is not run again
QUICK_LIMIT, LIMIT = 15.0, 600.0  # seconds after which it is stopped
QUICK_IN_ALL = 100.0  # what is left of these is the limit of the last ones, and then a second each

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
    """Compare gpuquant with scikit-learn, faiss, OpenCV, torch, libimagequant, Pillow and others, on this machine.

    What is not installed is a line below the table; gpuquant's extra "bench" has it all. Times are medians, from
    pixels in memory to a palette and one label for each pixel; errors are those of the result as written. Each
    quantizer has a process of its own; "first s" is what its imports and a first small photo take. What takes over
    ten minutes is stopped, with --quick after 15 seconds; all of that takes two minutes at most.
    """
    from rich.console import Console

    from gpuquant.benchmark import Measurement, machine, measure_apart, read_pixels, sample_photo, stored, table
    from gpuquant.benchmark_peers import quantizers
    from gpuquant.files import whole_file

    if out:
        check_outputs([photo] if photo else [], [out], force)
    every = quantizers(device)
    if photo:
        pixels = read_pixels(photo, QUICK_MEGAPIXELS if quick else None, max_pixels)
    else:
        pixels = sample_photo(*(QUICK_SIZE if quick else SIZE))
    height, width, _ = pixels.shape
    about = machine()
    described = f"{about['processor']}, {about['cores']} cores, torch {about['torch']}"
    sys.stdout.write(f"{width} x {height} pixels, {colors} colors; {described}\n\n")
    sys.stdout.flush()
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing is left behind
    found: list[Measurement] = []
    most, limit = (QUICK_SECONDS, QUICK_LIMIT) if quick else (SECONDS, LIMIT)
    end = time.monotonic() + QUICK_IN_ALL if quick else math.inf
    try:
        with stored(pixels) as file, Console(stderr=True).status("") as status:
            for quantizer in every:
                status.update(f"{quantizer.name} ({len(found) + 1} of {len(every)})")
                left = max(1.0, min(limit, end - time.monotonic()))
                found.append(measure_apart(quantizer, file, colors, rounds=ROUNDS, most_seconds=most, limit=left))
    except KeyboardInterrupt:
        if found:
            sys.stdout.write(table(found))
        sys.stderr.write(f"interrupted after {len(found)} of {len(every)}\n")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.stdout.write(table(found))
    if out:
        rows = [dataclasses.asdict(one) for one in found]
        name = photo.name if photo else "china.jpg"
        shown = {"kind": "bench", "photo": f"{name}, {width} x {height}", "n_colors": colors, "measurements": rows}
        with whole_file(out) as target:
            target.write(json.dumps({"machine": about, "tables": [shown], "ratios": []}, indent=1).encode() + b"\n")
        sys.stderr.write(f"wrote {out}\n")

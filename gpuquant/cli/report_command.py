"""The command for a page about results that are there."""

import sys
from typing import Annotated

import typer

from gpuquant.arguments import MAX_PIXELS
from gpuquant.cli.words import printable

Folder = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER", help="The folder with the results, and those below it; also at a URL.", show_default=False
    ),
]
Log = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="The log that gpuquant batch --log wrote: it knows MSE, PSNR, times, warnings, failures, and the photos.",
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="PIXELS",
        help="Decode no results, and no photos, with more pixels than this: they have no pictures on the page; 500 "
        "million if not given.",
        show_default=False,
    ),
]


def report(folder: Folder, log: Log = None, max_pixels: MaxPixels = MAX_PIXELS) -> None:
    """Write report.html into a folder of results: each before and after, with its palette, error, size and times.

    What gpuquant batch --report noted is taken from there. Of other results it is found in their files and in the log;
    what nobody knows is shown as unknown.
    """
    from rich.console import Console

    from gpuquant.report.recipe import report_folder

    console = Console(stderr=True)
    told: list[str] = []
    with console.status("looking at the results") as status:
        page, n_photos, n_failed = report_folder(
            folder,
            log,
            max_pixels=max_pixels,
            progress=lambda n_done, n_all: status.update(f"looking at the results: {n_done} of {n_all}"),
            tell=told.append,
        )
    for line in told:
        sys.stderr.write(f"gpuquant: {printable(line)}\n")
    photos = f"{n_photos} photo{'s' * (n_photos != 1)}"
    failed = f", {n_failed} failed" if n_failed else ""
    sys.stdout.write(f"wrote {printable(str(page))}: {photos}{failed}\n")

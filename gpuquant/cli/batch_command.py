"""The command for many files: its options, interrupts and exit codes."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpuquant.arguments import MAX_PIXELS
from gpuquant.cli.batch_progress import BatchProgress
from gpuquant.cli.options import (
    INTERRUPTED,
    LITTLE,
    Background,
    Colors,
    ColorSpace,
    Compression,
    DitherMethod,
    DitherStrength,
    Effort,
    KeepProfile,
    MaxPixels,
    Preview,
    Seed,
    TargetPsnr,
    Weighting,
    check_strength,
    note_little,
)
from gpuquant.cli.photo import STANDARD
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.registry import result_formats
from gpuquant.palettes.registry import endings

if TYPE_CHECKING:  # types are known before the program runs, tables are not
    from gpuquant.batch.job import Batch

    ResultFormat = str
else:
    ResultFormat = Literal[tuple(result_formats())]

SKIP = "Go on where an earlier run stopped: keep results that exist, if they were made with the same options."
FORCE = (
    "Overwrite results that exist; with --skip-existing only those made with other options. In a folder of photos only "
    "what says that gpuquant wrote it."
)

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH", help="Photos, and folders of photos; also at URLs: s3://bucket/photos/.", show_default=False
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The folder for the results, in which the tree of folders is kept; with --suffix it may be left out.",
        metavar="FOLDER",
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Also take the photos of sub-folders.")]
Format = Annotated[ResultFormat, typer.Option("--format", help="What to write.")]
Suffix = Annotated[
    str | None,
    typer.Option(
        "--suffix",
        help="End the results' names with this, such as -16-colors; they may then lie beside their photos.",
        metavar="TEXT",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, metavar="N", help="Files worked on at a time; one for each core if not given, up to 16."
    ),
]
BatchMemory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="2GB",
        help="How much memory the photos may take, whatever their sizes; a quarter of what is free, at least 512 MB, "
        f"if not given; {LITTLE}.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:1, or several of them: cuda:0,cuda:1.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="WHERE",
        help="Work on the machines of a Ray cluster: auto is a running one (RAY_ADDRESS, or this machine's), local one "
        "for this batch; or HOST:PORT, or ray://HOST:PORT. They need the same gpuquant, and see the same files; --jobs "
        "is then for each worker, and --memory for each machine.",
        show_default=False,
    ),
]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help=SKIP)]
Force = Annotated[bool, typer.Option("--force", help=FORCE)]
SharedPalette = Annotated[
    bool, typer.Option("--shared-palette", help="One palette for all pixels of all files, also written to palette.hex.")
]
GivenPalette = Annotated[
    str | None,
    typer.Option(
        "--palette",
        metavar="PALETTE",
        help=f'Apply these colors, such as "#000,#fff", or those in a file ({endings()}), in place of -k colors.',
    ),
]
Log = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Add one line of JSON for each file to this file: outcome, sizes, colors, MSE, PSNR, bytes, seconds, "
        "warnings.",
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Also write report.html beside the results: every photo before and after, palettes, errors, sizes, times.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]


def batch(
    paths: Paths,
    output: Output = None,
    suffix: Suffix = None,
    colors: Colors = None,
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = None,
    shared_palette: SharedPalette = False,
    palette: GivenPalette = None,
    recursive: Recursive = False,
    image_format: Format = "png",
    skip_existing: SkipExisting = False,
    force: Force = False,
    log: Log = None,
    report: Report = False,
    background: Background = None,
    keep_profile: KeepProfile = False,
    preview: Preview = False,
    compression: Compression = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    memory: BatchMemory = None,
    jobs: Jobs = None,
    device: Device = "auto",
    cluster: Cluster = None,
    random_state: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Reduce many photos, several at a time, each to its own palette or all to one.

    A photo that fails is reported and does not stop the others. Ctrl-C finishes what is in flight; the same command
    with --skip-existing goes on from there: results say what they were made with, and those made with other options
    are an error that names what differs. The exit code is 0, 1 if a photo failed, or 130 after Ctrl-C.
    """
    from gpuquant.batch.recipe import quantize_files

    if str(STANDARD) in paths:
        raise ArgumentError("- is standard input, which holds one photo for gpuquant quantize; name files and folders")
    existing = ("update" if force else "skip") if skip_existing else "overwrite" if force else "refuse"
    if quiet:
        warnings.simplefilter("ignore")
    note_little(memory)
    shown, trouble = BatchProgress(quiet), None
    job = quantize_files(
        paths,
        output,
        colors,
        recursive=recursive,
        image_format=image_format,
        jobs=jobs,
        device=device,
        suffix=suffix,
        existing=existing,
        palette=palette,
        shared_palette=shared_palette,
        log=log,
        report=report,
        effort=effort,
        color_space=color_space,
        weighting=weighting,
        target_psnr=target_psnr,
        random_state=random_state,
        background=background,
        keep_profile=keep_profile,
        compression=compression,
        dither=dither,
        dither_strength=check_strength(dither, dither_strength),
        max_pixels=max_pixels,
        memory=memory,
        cluster=cluster,
        preview=preview,
        counted=shown.count,
        progress=shown.begin,
    )
    with shown.showing(job), _stopped_by_interrupts(job) as interrupted:
        try:
            for outcome in job:
                shown.add(outcome)
        except ImageFileError as error:  # of the log, after the last file, or of the folder, before the first
            trouble = error
        finally:
            job.close()  # waits for what is in flight, when standard output is closed, for example
    if not trouble or any(shown.n.values()):
        shown.summarize(job.report)
    if trouble and not interrupted:
        raise trouble
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if shown.n["failed"]:
        raise typer.Exit(1)


@contextmanager
def _stopped_by_interrupts(job: "Batch") -> Iterator[list[int]]:
    """The first interrupt finishes what is in flight, a second one ends the process. The list is empty until then."""
    seen: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if seen:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # the cursor, which the progress bar hides
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # results are whole or not there
        seen.append(number)
        job.stop()
        sys.stderr.write("gpuquant: finishing what is in flight; interrupt again to stop at once\n")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)

"""The command for many files: progress on a terminal, lines elsewhere, a summary, exit codes."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from gpuquant.cli_options import (
    INTERRUPTED,
    Background,
    Colors,
    ColorSpace,
    Compression,
    DitherMethod,
    DitherStrength,
    Effort,
    Force,
    KeepProfile,
    MaxPixels,
    Preview,
    Seed,
    TargetPsnr,
    Weighting,
)
from gpuquant.errors import ArgumentError, ImageFileError

if TYPE_CHECKING:
    from rich.progress import Progress

    from gpuquant.batch_job import Batch
    from gpuquant.batch_outcome import FileOutcome

Paths = Annotated[list[Path], typer.Argument(help="Photos, and folders of photos.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder for the results.", show_default=False)]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Also take the photos of sub-folders.")]
Format = Annotated[str, typer.Option("--format", help="png, tif or gif.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Files worked on at a time; one for each core if not given, up to 16."),
]
Device = Annotated[str, typer.Option(help='"auto", "cpu", "cuda", or several: "cuda:0,cuda:1".')]
SkipExisting = Annotated[bool, typer.Option("--skip-existing", help="Go on where an earlier run stopped.")]
SharedPalette = Annotated[
    bool, typer.Option("--shared-palette", help="One palette for all pixels of all files, also written to palette.hex.")
]
GivenPalette = Annotated[
    Path | None,
    typer.Option(
        "--palette",
        help="Apply the palette in this file (.hex, .gpl, .ase, .act, .txt, .css, .json, .png) in place of -k colors.",
    ),
]
Log = Annotated[Path | None, typer.Option("--log", help="Add one line of JSON for each file to this file.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but failures.")]


def batch(
    paths: Paths,
    output: Output,
    colors: Colors = None,
    recursive: Recursive = False,
    image_format: Format = "png",
    jobs: Jobs = None,
    device: Device = "auto",
    skip_existing: SkipExisting = False,
    force: Force = False,
    shared_palette: SharedPalette = False,
    palette: GivenPalette = None,
    log: Log = None,
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    random_state: Seed = 0,
    background: Background = None,
    keep_profile: KeepProfile = False,
    compression: Compression = None,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = 1.0,
    max_pixels: MaxPixels = 500_000_000,
    preview: Preview = False,
    quiet: Quiet = False,
) -> None:
    """Reduce many photos, several at a time, each to its own palette or all to one.

    A photo that fails is reported and does not stop the others. Ctrl-C finishes what is in flight; the same command
    with --skip-existing goes on from there.
    """
    from gpuquant.batch import quantize_files
    from gpuquant.palette_files import read_palette

    if skip_existing and force:
        raise ArgumentError("--skip-existing and --force exclude each other; give one of them")
    shown, trouble = _Shown(quiet), None
    job = quantize_files(
        paths,
        output,
        colors,
        recursive=recursive,
        image_format=image_format,
        jobs=jobs,
        device=device,
        existing="skip" if skip_existing else "overwrite" if force else "refuse",
        palette=None if palette is None else read_palette(palette),
        shared_palette=shared_palette,
        log=log,
        effort=effort,
        color_space=color_space,
        weighting=weighting,
        target_psnr=target_psnr,
        random_state=random_state,
        background=background,
        keep_profile=keep_profile,
        compression=compression,
        dither=dither,
        dither_strength=dither_strength,
        max_pixels=max_pixels,
        preview=preview,
        counted=shown.count,
    )
    with shown.begin(len(job), shared_palette), _stopped_by_interrupts(job) as interrupted:
        try:
            for outcome in job:
                shown.add(outcome)
        except ImageFileError as error:  # of the log, after the last file, or of the folder, before the first
            trouble = error
        finally:
            job.close()  # waits for what is in flight, when standard output is closed, for example
    shown.summarize()
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


class _Shown:
    """What is printed while a job runs and after it."""

    def __init__(self, quiet: bool) -> None:
        self.n = {"written": 0, "skipped": 0, "failed": 0}
        self._quiet, self._n_pixels, self._start = quiet, 0, time.perf_counter()
        self._bar: Progress | None = None

    @contextmanager
    def begin(self, n_files: int, shared_palette: bool) -> Iterator[None]:
        self._start = time.perf_counter()
        if self._quiet or not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, TextColumn("{task.fields[rate]}"), console=Console(stderr=True)) as self._bar:
            self._counted = self._bar.add_task("counted", total=n_files, visible=shared_palette, rate="")
            self._done = self._bar.add_task("photos", total=n_files, rate="")
            yield

    def count(self, _: Path) -> None:
        if self._bar:
            self._bar.advance(self._counted)

    def add(self, outcome: "FileOutcome") -> None:
        self.n[outcome.status] += 1
        self._n_pixels += (outcome.width or 0) * (outcome.height or 0)
        if self._bar:
            failed = f", {self.n['failed']} failed" if self.n["failed"] else ""
            self._bar.update(self._done, advance=1, rate=self._rate() + failed)
        for note in () if self._quiet else outcome.warnings:
            self._print(f"gpuquant: {outcome.source}: {note}", sys.stderr)
        if outcome.status == "failed":
            self._print(f"gpuquant: {outcome.source}: {outcome.error}", sys.stderr)
        elif outcome.status == "written" and not self._quiet and not self._bar:
            error = "lossless" if outcome.mse == 0 else f"PSNR {outcome.psnr:.2f} dB"
            size = f"{outcome.width} x {outcome.height}, {outcome.n_colors} colors, {error}"
            self._print(f"wrote {outcome.target}: {size}", sys.stdout)

    def summarize(self) -> None:
        if not self._quiet:
            counts = ", ".join(f"{number} {status}" for status, number in self.n.items() if number)
            seconds = time.perf_counter() - self._start
            megapixels = f"{self._n_pixels / 1e6:.1f} megapixels in {seconds:.1f} s, {self._rate()}"
            sys.stdout.write(f"{counts or 'nothing done'}; {megapixels}\n")

    def _rate(self) -> str:
        return f"{self._n_pixels / 1e6 / (time.perf_counter() - self._start):.1f} MP/s"

    def _print(self, line: str, stream: TextIO) -> None:
        text = line.replace("\n", "\\n")
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            stream.write(f"{text}\n")
            stream.flush()

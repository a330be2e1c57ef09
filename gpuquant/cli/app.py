"""The command line: arguments to recipes, exit codes, no arithmetic. Heavy imports happen inside the commands."""

import contextlib
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from gpuquant.cli.batch_command import batch
from gpuquant.cli.bench_command import bench
from gpuquant.cli.info_command import info
from gpuquant.cli.options import INTERRUPTED, end_at_once
from gpuquant.cli.palette_commands import apply, palette
from gpuquant.cli.quantize_command import quantize
from gpuquant.cli.report_command import report
from gpuquant.cli.words import in_cli_words, printable, safe
from gpuquant.errors import ArgumentError, GpuquantError, is_lack_of_memory, with_name
from gpuquant.memory import share_freed_memory

app = typer.Typer(
    help="Exact k-means color quantization of whole photos, on CUDA or the CPU.",
    epilog="Begin with: gpuquant quantize photo.jpg",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS: dict[
    Callable[..., None], tuple[str, str]
] = {  # in the order of use, each with what the list of commands says of it, and an example
    quantize: ("Reduce a photo to few colors.", "quantize holiday.jpg holiday-16.png -k 16"),
    batch: (
        "Reduce many photos, each to its colors or all to the same.",
        "batch holiday/ -o small/ -k 16 --recursive",
    ),
    report: ("Show the results of a batch on a page.", "report small/ --log batch.jsonl"),
    palette: ("Find the palette of one photo or several.", "palette holiday.jpg -k 6 --sort hue --out holiday.gpl"),
    apply: ("Give a photo the colors of a palette.", 'apply "#000,#fff,tomato" other.jpg three-colors.png'),
    bench: ("Compare gpuquant with other quantizers, on this machine.", "bench --quick"),
    info: ("Show versions, devices and memory.", "info"),
}
for command, (summary, example) in COMMANDS.items():
    app.command(short_help=summary, epilog=f"Example: gpuquant {example}")(command)


def _print_version(asked: bool) -> None:
    if asked:
        from gpuquant import __version__

        sys.stdout.write(f"gpuquant {__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def program() -> None:
    """Be the process: an interrupt then ends it at once, as taking torch apart takes one to three seconds."""
    try:
        main()
    except SystemExit as stop:
        if stop.code != INTERRUPTED:
            raise
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)  # results are whole or not there


def main() -> None:
    """Run the command line: exit code 0, 1 for a job that failed, 2 for bad usage."""
    share_freed_memory()
    before = signal.signal(signal.SIGINT, end_at_once)
    try:
        _run(sys.argv[1:])
    finally:
        signal.signal(signal.SIGINT, before)


def _run(arguments: list[str]) -> None:
    warnings.showwarning = _show_warning
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would tell standard error what ours says
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        code = app(arguments or ["--help"], prog_name="gpuquant", standalone_mode=False)
        if code == INTERRUPTED:  # typer turns an interrupt into its exit code
            _stop("interrupted", code)
        sys.exit(code if arguments else 2)
    except typer.TyperException as error:
        _stop(safe(f"{_in_short(error.format_message())}; try --help", arguments), code=2)
    except GpuquantError as error:
        _stop(in_cli_words(safe(str(error), arguments), arguments), code=2 if isinstance(error, ArgumentError) else 1)
    except (typer.Abort, KeyboardInterrupt):
        _stop("interrupted", INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        _stop("out of memory", code=1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # nearly all files have errors of ours
        is_of_file = error.filename is not None
        _stop(with_name(error) if is_of_file else f"standard output cannot be written: {error.strerror}", code=1)


def _in_short(message: str) -> str:
    """Shorten a message of typer's about an argument: words about typer's own code are left out."""
    message = message.replace("Value error, ", "").replace("Input should be ", "it must be ").rstrip(".")
    return re.sub(r", unable to parse .*|\(s\)", "", message)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _tell(in_cli_words(str(message), sys.argv[1:]))


def _stop(message: object, code: int) -> None:
    _tell(str(message))
    sys.exit(code)


def _tell(message: str) -> None:
    sys.stderr.write(f"gpuquant: {printable(' '.join(message.split()))}\n")


if __name__ == "__main__":
    program()

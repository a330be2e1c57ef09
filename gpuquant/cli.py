"""The command line: arguments to recipes, exit codes, no arithmetic. Heavy imports happen inside the commands."""

import dataclasses
import io
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gpuquant.cli_batch import batch
from gpuquant.cli_options import (
    INTERRUPTED,
    AsJson,
    Background,
    Colors,
    Compression,
    Device,
    DitherMethod,
    DitherStrength,
    Force,
    KeepProfile,
    MaxPixels,
    Out,
    PaletteFile,
    Photo,
    Seed,
    SideBySide,
)
from gpuquant.errors import ArgumentError, GpuquantError, is_lack_of_memory

if TYPE_CHECKING:
    from rich.console import Console

    from gpuquant.quantized_image import QuantizedImage

app = typer.Typer(
    help="Exact k-means colour quantisation of whole photos, on CUDA or the CPU.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command(epilog="Example: gpuquant batch holiday/ --output small/ -k 16 --recursive")(batch)


@app.command(epilog="Example: gpuquant quantize holiday.jpg holiday-16.png -k 16")
def quantize(
    photo: Photo,
    out: Out = None,
    colors: Colors = 8,
    device: Device = "auto",
    side_by_side: SideBySide = None,
    palette: PaletteFile = None,
    random_state: Seed = 0,
    as_json: AsJson = False,
    force: Force = False,
    max_pixels: MaxPixels = 500_000_000,
    compression: Compression = None,
    background: Background = None,
    keep_profile: KeepProfile = False,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = 1.0,
) -> None:
    """Reduce a photo to its k-means colours and write it as an indexed image."""
    from rich.console import Console

    from gpuquant.image_writing import check_format, check_picture_format, write_picture
    from gpuquant.palette_files import write_palette
    from gpuquant.quantization import quantize as quantize_image

    if not photo.name:
        raise ArgumentError(f"{str(photo)!r} is not a file; name a photo")
    out = out or photo.with_name(f"{photo.stem}-{colors}-colors.png")
    check_format(out, colors)
    if side_by_side:
        check_picture_format(side_by_side)
    outputs = [path for path in (out, side_by_side, palette) if path]
    _check_outputs(photo, outputs, force)
    with Console(stderr=True).status(f"Quantizing {photo.name} to {colors} colors"):
        result = quantize_image(
            photo,
            colors,
            device=device,
            random_state=random_state,
            max_pixels=max_pixels,
            background=background,
            keep_profile=keep_profile,
            dither=dither,
            dither_strength=dither_strength,
        )
        start = time.perf_counter()
        result.save(out, compression=compression)
        if side_by_side:
            write_picture(result.side_by_side(photo, max_pixels=max_pixels), side_by_side)
        if palette:
            write_palette(result.palette, palette)
        seconds = result.seconds | {"write": time.perf_counter() - start}
    result = dataclasses.replace(result, seconds=seconds)
    if as_json:
        sys.stdout.write(json.dumps(_summary(result, outputs)) + "\n")
    else:
        _print_result(Console(highlight=False), result, outputs)


@app.command(epilog="Example: gpuquant info")
def info() -> None:
    """Show versions, devices and memory."""
    import os
    import platform

    import numpy as np
    import PIL
    import torch

    from gpuquant import __version__

    rows = [
        ("gpuquant", __version__),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("numpy", np.__version__),
        ("Pillow", PIL.__version__),
        ("cpu", f"{platform.machine()}, {torch.get_num_threads()} threads"),
    ]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        rows.append(("memory", f"{gigabytes:.1f} GiB"))
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(n_devices):
        free, total = torch.cuda.mem_get_info(index)
        memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        rows.append((f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory}"))
    if not n_devices:
        rows.append(("cuda", "no device found"))
    for name, value in rows:
        sys.stdout.write(f"{name:<9} {value}\n")


def main() -> None:
    """Run the command line: exit code 0, 1 for a job that failed, 2 for bad usage."""
    arguments = sys.argv[1:]
    warnings.showwarning = _show_warning
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold anything
    try:
        code = app(arguments or ["--help"], prog_name="gpuquant", standalone_mode=False)
        if code == INTERRUPTED:  # typer turns an interrupt into its exit code
            _stop("interrupted", code)
        sys.exit(code if arguments else 2)
    except typer.TyperException as error:
        _stop(f"{error.format_message()} Try --help.", code=2)
    except ArgumentError as error:
        _stop(error, code=2)
    except GpuquantError as error:
        _stop(error, code=1)
    except (typer.Abort, KeyboardInterrupt):
        _stop("interrupted", INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        _stop("out of memory", code=1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # files have errors of ours
        _stop(f"standard output cannot be written: {error.strerror}", code=1)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"gpuquant: {' '.join(str(message).split())}\n")


def _stop(message: object, code: int) -> None:
    sys.stderr.write(f"gpuquant: {' '.join(str(message).split())}\n")
    sys.exit(code)


def _check_outputs(photo: Path, outputs: list[Path], force: bool) -> None:
    """Find out what cannot be written before any work is done."""
    resolved = [path.resolve() for path in [photo, *outputs]]
    for path in outputs:
        if resolved.count(path.resolve()) > 1:
            raise ArgumentError(f"{path} is named twice; give the photo and every output a name of its own")
        if path.is_dir():
            raise ArgumentError(f"{path} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise ArgumentError(f"{path} cannot be written: there is no folder {path.parent}")
        if path.exists() and not force:
            raise ArgumentError(f"{path} exists; use --force to overwrite it")


def _summary(result: "QuantizedImage", outputs: list[Path]) -> dict[str, object]:
    height, width = result.labels.shape
    return {
        "written": [str(path) for path in outputs],
        "width": width,
        "height": height,
        "palette": list(result.palette.hex),
        "counts": result.counts.tolist(),
        "mse": result.mse,
        "psnr": None if result.mse == 0 else result.psnr,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "seconds": result.seconds,
    }


def _print_result(console: "Console", result: "QuantizedImage", outputs: list[Path]) -> None:
    shown = list(zip(result.palette.hex, result.shares.tolist(), strict=True))
    for color, share in shown[:32]:
        block = f"[on {color[:7]}]      [/] " if console.is_terminal else ""
        console.print(f"{block}{color}  {share:6.2%}")
    if len(shown) > 32:
        console.print(f"and {len(shown) - 32} more")
    error = "lossless" if result.mse == 0 else f"MSE {result.mse:.2f}, PSNR {result.psnr:.2f} dB"
    height, width = result.labels.shape
    stages = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in result.seconds.items())
    console.print(f"{width} x {height} pixels, {len(result.palette)} colors, {error}", soft_wrap=True)
    ending = "converged after" if result.converged else "stopped after"
    console.print(f"k-means {ending} iteration {result.n_iter} on all colors", soft_wrap=True)
    console.print(f"time: {stages}", soft_wrap=True)
    for path in outputs:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()

"""The command line: arguments to recipes, exit codes, no arithmetic. Heavy imports happen inside the commands."""

import dataclasses
import io
import json
import logging
import os
import sys
import time
import warnings

import typer

from gpuquant.cli_batch import batch
from gpuquant.cli_bench import bench
from gpuquant.cli_options import (
    INTERRUPTED,
    AsJson,
    Background,
    Colors,
    ColorSpace,
    Compression,
    Device,
    DitherMethod,
    DitherStrength,
    Effort,
    ErrorMap,
    Force,
    KeepProfile,
    MaxPixels,
    Out,
    PaletteFile,
    Photo,
    Preview,
    Seed,
    SideBySide,
    TargetPsnr,
    Weighting,
)
from gpuquant.cli_output import check_outputs, print_result, summary
from gpuquant.cli_palette import apply, palette
from gpuquant.errors import ArgumentError, GpuquantError, is_lack_of_memory

app = typer.Typer(
    help="Exact k-means color quantization of whole photos, on CUDA or the CPU.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command(epilog="Example: gpuquant batch holiday/ --output small/ -k 16 --recursive")(batch)
app.command(epilog="Example: gpuquant palette holiday.jpg -k 6 --sort hue --out holiday.gpl")(palette)
app.command(epilog="Example: gpuquant apply holiday.gpl other.jpg other-in-these-colors.png")(apply)
app.command(epilog="Example: gpuquant bench --quick")(bench)


@app.command(epilog="Example: gpuquant quantize holiday.jpg holiday-16.png -k 16")
def quantize(
    photo: Photo,
    out: Out = None,
    colors: Colors = None,
    device: Device = "auto",
    side_by_side: SideBySide = None,
    error_map: ErrorMap = None,
    palette_file: PaletteFile = None,
    target_psnr: TargetPsnr = None,
    effort: Effort = "default",
    color_space: ColorSpace = "srgb",
    weighting: Weighting = 1.0,
    random_state: Seed = 0,
    as_json: AsJson = False,
    force: Force = False,
    max_pixels: MaxPixels = 500_000_000,
    preview: Preview = False,
    compression: Compression = None,
    background: Background = None,
    keep_profile: KeepProfile = False,
    dither: DitherMethod = "none",
    dither_strength: DitherStrength = 1.0,
) -> None:
    """Reduce a photo to its k-means colors and write it as an indexed image."""
    from rich.console import Console

    from gpuquant.image_reading import read_size
    from gpuquant.image_writing import check_format, check_picture_format, write_picture
    from gpuquant.palette_files import check_palette_format, write_palette
    from gpuquant.palette_search import check_search
    from gpuquant.quantization import quantize as quantize_image

    if not photo.name:
        raise ArgumentError(f"{str(photo)!r} is not a file; name a photo")
    search = check_search(colors, target_psnr, color_space, weighting, effort, random_state)
    wanted = f"{search.n_colors} colors" if search.n_colors else f"{target_psnr:g} dB"
    out = out or photo.with_name(f"{photo.stem}-{wanted.replace(' ', '-')}.png")
    check_format(out, search.n_colors or 1)
    for picture in (side_by_side, error_map):
        if picture:
            check_picture_format(picture)
    if palette_file:
        check_palette_format(palette_file, search.n_colors or 1)
    outputs = [path for path in (out, side_by_side, error_map, palette_file) if path]
    check_outputs([photo], outputs, force)
    check_format(out, 1, size=read_size(photo, max_pixels=max_pixels))
    with Console(stderr=True).status(f"Quantizing {photo.name} to {wanted}"):
        result = quantize_image(
            photo,
            colors,
            device=device,
            effort=effort,
            color_space=color_space,
            weighting=weighting,
            target_psnr=target_psnr,
            random_state=random_state,
            max_pixels=max_pixels,
            preview=preview,
            background=background,
            keep_profile=keep_profile,
            dither=dither,
            dither_strength=dither_strength,
        )
        start = time.perf_counter()
        check_format(out, len(result.palette), alpha=result.palette.alpha)
        if palette_file:  # first: it may have entries that its format cannot hold
            write_palette(result.palette, palette_file)
        result.save(out, compression=compression)
        if side_by_side:
            write_picture(result.side_by_side(photo, max_pixels=max_pixels), side_by_side)
        if error_map:
            write_picture(result.error_map(photo, max_pixels=max_pixels), error_map)
        seconds = result.seconds | {"write": time.perf_counter() - start}
    result = dataclasses.replace(result, seconds=seconds)
    if as_json:
        sys.stdout.write(json.dumps(summary(result, outputs)) + "\n")
    else:
        print_result(Console(highlight=False), result, outputs)


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


if __name__ == "__main__":
    main()

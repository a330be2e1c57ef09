"""What the commands check before they work, and print after it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquant.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console

    from gpuquant.quantized_image import QuantizedImage

MOST_SHOWN = 32  # entries of a result's palette


def check_outputs(inputs: Sequence[Path], outputs: Sequence[Path], force: bool) -> None:
    """Find out what cannot be written before any work is done."""
    resolved = [path.resolve() for path in outputs]
    for path in outputs:
        if resolved.count(path.resolve()) > 1 or path.resolve() in {given.resolve() for given in inputs}:
            raise ArgumentError(f"{path} is named twice; give the photo and every output a name of its own")
        if path.is_dir():
            raise ArgumentError(f"{path} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise ArgumentError(f"{path} cannot be written: there is no folder {path.parent}")
        if path.exists() and not force:
            raise ArgumentError(f"{path} exists; use --force to overwrite it")


def summary(result: "QuantizedImage", outputs: list[Path]) -> dict[str, object]:
    """What --json prints."""
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


def print_result(
    console: "Console", result: "QuantizedImage", outputs: list[Path], *, is_palette_given: bool = False
) -> None:
    """The palette with its shares, and a few lines about the result."""
    shown = list(zip(result.palette.hex, result.shares.tolist(), strict=True))
    for color, share in shown[:MOST_SHOWN]:
        console.print(f"{color_block(console, color)}{color}  {share:6.2%}")
    if len(shown) > MOST_SHOWN:
        console.print(f"and {len(shown) - MOST_SHOWN} more")
    error = "lossless" if result.mse == 0 else f"MSE {result.mse:.2f}, PSNR {result.psnr:.2f} dB"
    height, width = result.labels.shape
    stages = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in result.seconds.items())
    n_colors = "1 color" if len(result.palette) == 1 else f"{len(result.palette)} colors"
    console.print(f"{width} x {height} pixels, {n_colors}, {error}", soft_wrap=True)
    if not is_palette_given:
        ending = "converged after" if result.converged else "stopped after"
        console.print(f"k-means {ending} iteration {result.n_iter} on all colors", soft_wrap=True)
    console.print(f"time: {stages}", soft_wrap=True)
    for path in outputs:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)


def color_block(console: "Console", color: str) -> str:
    """A block of a color "#rrggbb..." for a terminal; nothing elsewhere."""
    return f"[on {color[:7]}]      [/] " if console.is_terminal else ""

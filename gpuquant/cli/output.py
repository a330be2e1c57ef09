"""The output of the commands: checked before they work, shown while they work, printed after it."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gpuquant.cli.options import note_little
from gpuquant.cli.photo import STANDARD
from gpuquant.cli.words import printable
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import Location, Place, identity_of, is_there
from gpuquant.whole_file import told

if TYPE_CHECKING:
    from rich.console import Console

    from gpuquant.images.sources import ImageSource, Source
    from gpuquant.palettes.palette import Palette
    from gpuquant.quantization.file_steps import FileResult
    from gpuquant.quantization.result import QuantizedImage

MOST_SHOWN = 32  # entries of a result's palette


@dataclass(frozen=True)
class Outputs:
    """The paths that a command writes its results to."""

    image: Place  # or "-"
    side_by_side: Place | None = None
    error_map: Place | None = None
    palette: Place | None = None

    @property
    def paths(self) -> list[Place]:
        return [path for path in (self.image, self.side_by_side, self.error_map, self.palette) if path]

    @property
    def to_standard_output(self) -> bool:
        return self.image == STANDARD

    def check(self, n_colors: int, inputs: Sequence[Place], force: bool) -> None:
        """Raise unless all of it can be written, as far as that is known."""
        from gpuquant.images.writing import check_format, check_picture_format
        from gpuquant.palettes.formats import check_palette_format

        if not self.to_standard_output:
            check_format(self.image, n_colors)
        elif sys.__stdout__ is None:
            raise ArgumentError("a picture is to go to standard output, which is closed; name a file")
        elif sys.stdout.isatty():
            raise ArgumentError("a picture is not written to a terminal; name a file, or send it on: > result.png")
        for picture in (self.side_by_side, self.error_map):
            if picture:
                check_picture_format(picture)
        if self.palette:
            use = f'to use a palette: gpuquant apply "{self.palette}" PHOTO OUT'
            try:
                check_palette_format(self.palette, n_colors)
            except ArgumentError as error:
                raise ArgumentError(f"--palette names what is written: {error}; {use}") from None
            if not force and is_there(self.palette):
                raise ArgumentError(f"{self.palette} exists; --force overwrites it; {use}")
        check_outputs(inputs, [path for path in self.paths if path != STANDARD], force)

    @property
    def target(self) -> "Place | BinaryIO":
        """The path or URL, or standard output."""
        return sys.stdout.buffer if self.to_standard_output else self.image

    @property
    def image_format(self) -> str | None:
        return "png" if self.to_standard_output else None

    def make(
        self,
        recipe: "Callable[..., QuantizedImage]",
        photo: "ImageSource | Source",
        settings: dict[str, Any],  # of the recipe
        *,
        compression: int | None,
        memory: str | None,
    ) -> "QuantizedImage | FileResult":
        """Make all of it: strip by strip, unless pictures are asked for that take the whole photo."""
        from gpuquant.quantization.file import quantize_file

        about: dict[str, Any] = {"image_format": self.image_format, "compression": compression, "memory": memory}
        if not (self.side_by_side or self.error_map):
            note_little(memory)
            with self.told():
                return quantize_file(photo, self.target, found=self.write_palette, **about, **settings)
        self._check_photo(photo, settings.get("palette"), settings["max_pixels"], memory)
        result = recipe(photo, **settings)
        settings["progress"]("write")
        return self._write(result, photo, compression, settings["max_pixels"])

    def _check_photo(
        self, photo: "ImageSource | Source", palette: "Palette | None", max_pixels: int, memory: str | None
    ) -> None:
        """Raise unless the format can hold a photo of that size, and memory all of its pixels."""
        from gpuquant.images.room import check_room
        from gpuquant.images.strips import photo_size
        from gpuquant.images.writing import check_format
        from gpuquant.memory import default_budget, parse_memory

        size = photo_size(photo, max_pixels)
        if not self.to_standard_output:
            n_colors, alpha = (1, None) if palette is None else (len(palette), palette.alpha)
            check_format(self.image, n_colors, size=size, alpha=alpha)
        way_out = "give more with --memory, or leave out --side-by-side and --error-map, which take the whole photo"
        check_room(size, default_budget() if memory is None else parse_memory(memory), way_out)

    def write_palette(self, palette: "Palette") -> None:
        """Write the palette: before the picture, as it may have entries that its format cannot hold."""
        from gpuquant.palettes.files import write_palette

        if self.palette:
            write_palette(palette, self.palette)

    @contextmanager
    def told(self) -> "Iterator[None]":
        """Name standard output in the error when it cannot be written."""
        try:
            yield
            if self.to_standard_output:
                sys.stdout.flush()
        except ImageFileError as error:
            words = str(error)
            if not self.to_standard_output or not words.startswith("the file "):
                raise
            raise ImageFileError(f"standard output {words.removeprefix('the file ')}") from None

    def _write(
        self, result: "QuantizedImage", photo: "ImageSource | Source", compression: int | None, max_pixels: int
    ) -> "QuantizedImage":
        """Write all of it; the result then knows how long that took."""
        import dataclasses

        from gpuquant.images.writing import check_format, write_picture

        start = time.perf_counter()
        if not self.to_standard_output:
            check_format(self.image, len(result.palette), alpha=result.palette.alpha)
        self.write_palette(result.palette)
        with self.told():
            result.save(self.target, format=self.image_format, compression=compression)
        if self.side_by_side:
            write_picture(result.side_by_side(photo, max_pixels=max_pixels), self.side_by_side)
        if self.error_map:
            write_picture(result.error_map(photo, max_pixels=max_pixels), self.error_map)
        return dataclasses.replace(result, seconds=result.seconds | {"write": time.perf_counter() - start})


def check_outputs(inputs: Sequence[Place], outputs: Sequence[Place], force: bool) -> None:
    """Raise, before any work is done, if an output cannot be written."""
    resolved = [identity_of(path) for path in outputs]
    read = {identity_of(given) for given in inputs}
    for path in outputs:
        if identity_of(path) in read:
            raise ArgumentError(f"{path} is also what is read; give what is written a name of its own")
        if resolved.count(identity_of(path)) > 1:
            raise ArgumentError(f"{path} is named twice; give every output a name of its own")
        if isinstance(path, Location):
            path.check_target()
        else:
            _check_path(path)
        if not force and is_there(path):
            raise ArgumentError(f"{path} exists; use --force to overwrite it")
        if isinstance(path, Location):
            path.parent.check_writable()


def _check_path(path: Path) -> None:
    with told(lambda reason: ImageFileError(f"{path} cannot be written: {reason}")):
        if path.is_dir():
            raise ArgumentError(f"{path} is a folder; name a file in it")
        if not path.parent.is_dir():
            raise ArgumentError(f"{path} cannot be written: there is no folder {path.parent}")


def summary(result: "QuantizedImage | FileResult", outputs: list[Place]) -> dict[str, object]:
    """The object that --json prints."""
    width, height = _size_of(result)
    return {
        "written": [str(path) for path in outputs],
        "width": width,
        "height": height,
        "palette": list(result.palette.hex),
        "names": list(result.palette.names()),
        "shares": result.shares.tolist(),
        "counts": result.counts.tolist(),
        "mse": result.mse,
        "psnr": None if result.mse == 0 else result.psnr,
        "n_iter": result.n_iter,
        "converged": result.converged,
        "seconds": result.seconds,
    }


def report(
    result: "QuantizedImage | FileResult", outputs: Outputs, *, as_json: bool, is_palette_given: bool = False
) -> None:
    """Print the result, on standard error where the picture goes to standard output."""
    import json

    from rich.console import Console

    if as_json:
        stream = sys.stderr if outputs.to_standard_output else sys.stdout
        stream.write(json.dumps(summary(result, outputs.paths)) + "\n")
    else:
        console = Console(stderr=outputs.to_standard_output, highlight=False)
        print_result(console, result, outputs.paths, is_palette_given=is_palette_given)


def print_result(
    console: "Console", result: "QuantizedImage | FileResult", outputs: list[Place], *, is_palette_given: bool = False
) -> None:
    """The palette with its shares, and a few lines about the result."""
    from gpuquant.palettes.palette import n_colors

    shown = list(zip(result.palette.hex, result.shares.tolist(), strict=True))
    for color, share in shown[:MOST_SHOWN]:
        console.print(f"{color_block(console, color)}{color}  {share:6.2%}")
    if len(shown) > MOST_SHOWN:
        console.print(f"and {len(shown) - MOST_SHOWN} more")
    columns = "R, G, B" if result.palette.alpha is None else "R, G, B and alpha"
    error = f"MSE {result.mse:.2f} (summed over {columns}), PSNR {result.psnr:.2f} dB"
    width, height = _size_of(result)
    stages = ", ".join(f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in result.seconds.items())
    console.print(
        f"{width} x {height} pixels, {n_colors(len(result.palette))}, {error if result.mse else 'lossless'}",
        soft_wrap=True,
    )
    if not is_palette_given:
        ending = "converged after" if result.converged else "stopped after"
        console.print(f"k-means {ending} iteration {result.n_iter} on all colors", soft_wrap=True)
    console.print(f"time: {stages}", soft_wrap=True)
    for path in outputs:
        if path != STANDARD:
            console.print(f"wrote {printable(str(path))}", soft_wrap=True, markup=False)


def _size_of(result: "QuantizedImage | FileResult") -> tuple[int, int]:
    from gpuquant.quantization.result import QuantizedImage

    if isinstance(result, QuantizedImage):
        return result.labels.shape[1], result.labels.shape[0]
    return result.width, result.height


def color_block(console: "Console", color: str) -> str:
    """A block of a color "#rrggbb..." for a terminal; nothing elsewhere."""
    return f"[on {color[:7]}]      [/] " if console.is_terminal else ""

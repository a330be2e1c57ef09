"""Samples in 8 bits: of images that Pillow holds in 8 bits, and of those that it hands over as they are stored."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gpuquant.errors import ArgumentError

STRIP_BYTES = 100_000  # of gray that are reckoned with at a time: larger strips get fresh memory, which costs more
WIDE = re.compile(r"(?!BGR).*;16")  # what Pillow calls samples of 16 bits, and not pixels of 16 bits
FULL_RANGE = (None, "PNG", "TIFF", "JPEG2000", "PPM", "IM")  # formats whose unsigned 16 bits are black to white
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
COLOR_MAP = 320  # TIFF's tag
UNSIGNED, SIGNED = 1, 2  # values of the tag SampleFormat
KINDS = {"I": "whole numbers of 32 bits", "F": "floats"}
SCALING = 'Image.fromarray((255 * (a - low) / (high - low)).round().astype("uint8")), where a is '
LEVELS = "np.asarray(image, float)"
SIGNED_LEVELS = 'np.asarray(image).view("int8").astype(float)'  # Pillow takes their bits for levels without a sign

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Range:
    """Samples from 0, black, to `top`, white, or the other way round."""

    top: int  # of what the file holds
    inverted: bool = False
    stretched: bool = False  # by Pillow, to 65535

    @property
    def n_bits(self) -> int:
        return self.top.bit_length()


def range_of(image: Image.Image) -> Range:
    """Find black and white among the samples of a channel, by the tags or the header, before the image is loaded.

    Raises
    ------
    ArgumentError
        Nobody knows.
    """
    tags: Any = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    kinds = tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    signed = bool(kinds) and kinds[0] == SIGNED
    if image.format == "TIFF" and signed and image.mode == "L":
        raise ArgumentError(_unknown("signed whole numbers of 8 bits", SIGNED_LEVELS))
    if image.mode.startswith("I;16") or image.mode == "I":
        bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
        inverted = image.format == "TIFF" and tags.get(PHOTOMETRIC, 0) == 0
        if image.format == "PPM":
            return _range_of_ppm(image)
        if image.mode == "I" and not (image.format == "PNG" or (image.format == "TIFF" and bits == 32 and not signed)):
            kind = f"signed whole numbers of {bits} bits" if image.format == "TIFF" else KINDS["I"]
            raise ArgumentError(_unknown(f"mode I ({kind})"))
        if image.format not in FULL_RANGE:
            raise ArgumentError(_unknown(f"mode {image.mode} in {image.format}"))
        return Range((1 << bits) - 1, inverted)
    if image.mode == "F":
        raise ArgumentError(_unknown(f"mode F ({KINDS['F']})"))
    if image.format == "PPM" and image.mode == "RGB":
        return Range(_range_of_ppm(image).top)
    tiles: Any = getattr(image, "tile", None) or ()
    wide = any(codec == "SGI16" or WIDE.match(_raw_mode(args)) for codec, *_, args in tiles)
    return Range(65535 if wide else 255)


def _unknown(what: str, levels: str = LEVELS) -> str:
    advice = f"scale them to 8 bits first, from the darkest to the lightest of yours: {SCALING}{levels}"
    return f"images of {what} are not supported, as nothing says which level is black and which is white; {advice}"


def _raw_mode(args: Any) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _range_of_ppm(image: Image.Image) -> Range:
    """Take the largest level from the header; Pillow stretches gray samples above 255 to 65535."""
    tiles: Any = getattr(image, "tile", None) or ()
    args = tiles[0][3] if tiles else ()
    top = args[1] if isinstance(args, tuple) and len(args) == 2 and tiles[0][0] != "raw" else None
    if image.mode == "RGB":
        return Range(top or 255)
    return Range(top or 65535, stretched=True)


def mend_palette(image: Image.Image, color_map: Any) -> tuple[str, ...]:
    """Take the color map of a TIFF for one of 8 bits where no level needs more, as libtiff's tools do; a note.

    It holds all reds, all greens and all blues, in 16 bits: of levels below 256 Pillow makes black.
    """
    if image.mode not in ("P", "PA") or not isinstance(color_map, tuple) or not 0 < max(color_map, default=0) < 256:
        return ()
    n_colors = len(color_map) // 3
    planes = [color_map[place * n_colors : (place + 1) * n_colors] for place in range(3)]
    image.putpalette(bytes(level for color in zip(*planes, strict=True) for level in color))
    return ("the levels of its color map are taken for 8 bits, where the format has 16",)


def gray_of(image: Image.Image, levels: Range) -> Pixels:  # [H, W]
    """Gray samples of more than 8 bits in 8 bits, each rounded once."""
    pixels = np.empty((image.height, image.width), np.uint8)
    n_rows = max(1, STRIP_BYTES // image.width)
    for start in range(0, image.height, n_rows):
        strip = image.crop((0, start, image.width, min(start + n_rows, image.height)))
        samples = np.asarray(strip).astype(np.int64)
        if image.mode == "I":
            samples &= 0xFFFFFFFF  # which Pillow takes for signed
        if levels.stretched:
            samples = (samples * levels.top + 32767) // 65535  # which undoes the stretching exactly
        samples = samples.clip(0, levels.top)
        if levels.inverted:
            samples = levels.top - samples
        pixels[start : start + n_rows] = (2 * 255 * samples + levels.top) // (2 * levels.top)
    return pixels


def pixels_of(image: Image.Image) -> Pixels:  # [H, W, 3] or [H, W]
    """The pixels of an image of mode RGB or L.

    Pillow holds four bytes for RGB. It packs three some rows at a time as it writes a PPM file, and nothing is copied
    twice; for NumPy's interface to images it joins all of them, which takes half as long again (measured).
    """
    shape = (image.height, image.width, 3) if image.mode == "RGB" else (image.height, image.width)
    pixels = np.empty(shape, np.uint8)
    file: Any = _PixelsAsFile(pixels)
    image.save(file, "PPM")
    file.check()
    return pixels


class _PixelsAsFile:
    """A PPM file that is written into an array."""

    def __init__(self, pixels: Pixels) -> None:
        self._left = pixels.reshape(-1).data
        self._n_lines = 3  # of the header: the kind, the size, and the level of white

    def write(self, data: bytes) -> None:
        while self._n_lines and data:
            _, end, data = data.partition(b"\n")
            self._n_lines -= len(end)
        self._left[: len(data)] = data
        self._left = self._left[len(data) :]

    def check(self) -> None:
        assert not self._left, "Pillow has written fewer pixels than there are"

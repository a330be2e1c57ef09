"""Palettes of Adobe's programs: .ase (swatch exchange) and .act (color table)."""

import math
import struct

import numpy as np
import numpy.typing as npt

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.entries import Entry, PaletteEntries, refuse_alpha
from gpuquant.palettes.registry import endings_with_alpha

ACT_ENTRIES = 256  # which the table of every .act has
NO_INDEX = 0xFFFF  # no entry is clear
_COLOR, _NORMAL = 1, 2  # a block that is a color; a color that is neither global nor a spot color
FARTHEST = 1000  # what is wider is no color of any space
_N_NUMBERS = {b"RGB ": 3, b"Gray": 1, b"CMYK": 4, b"LAB ": 3}
_XYZ_OF_D50 = (0.96422, 1.0, 0.82521)  # the white that Adobe's Lab refers to
_LINEAR_FROM_XYZ = (  # of D50, to linear sRGB: B. Lindbloom, Bradford-adapted
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)


def write_ase(palette: PaletteEntries, _: str) -> bytes:
    """One RGB swatch for each entry, named "#rrggbb"."""
    refuse_alpha(palette, ".ase")
    blocks = []
    for row in palette.rgba[:, :3]:
        name = f"#{row.tobytes().hex()}\0"
        body = struct.pack(">H", len(name)) + name.encode("utf-16-be") + b"RGB "
        body += struct.pack(">3fH", *(row / 255).tolist(), _NORMAL)
        blocks.append(struct.pack(">HI", _COLOR, len(body)) + body)
    return struct.pack(">4sHHI", b"ASEF", 1, 0, len(blocks)) + b"".join(blocks)


def read_ase(data: bytes) -> list[Entry]:
    """The swatches of all groups in their order; Gray, CMYK and Lab become sRGB, without profiles."""
    if data[:4] != b"ASEF" or len(data) < 12:
        raise ImageFileError("byte 0: no swatches: the file does not begin with ASEF")
    n_blocks = int.from_bytes(data[8:12], "big")
    place, entries = 12, []
    for number in range(n_blocks):
        if place + 6 > len(data):
            raise ImageFileError(f"byte {place}: the file ends after {number} of {n_blocks} blocks")
        kind, length = struct.unpack_from(">HI", data, place)
        end = place + 6 + length
        if end > len(data):
            raise ImageFileError(f"byte {place}: a block of {length} bytes does not end within the file")
        if kind == _COLOR:
            entries.append(_swatch(data, place + 6, end))
        place = end
    return entries


def _swatch(data: bytes, place: int, end: int) -> Entry:
    """The color in a block."""
    n_letters = int.from_bytes(data[place : place + 2], "big")
    place += 2 + 2 * n_letters
    model = data[place : min(place + 4, end)]
    if model not in _N_NUMBERS:
        raise ImageFileError(f"byte {place}: {model!r} is not one of the color models RGB, Gray, CMYK and LAB")
    n_numbers = _N_NUMBERS[model]
    if place + 4 + 4 * n_numbers > end:
        raise ImageFileError(f"byte {place}: the swatch ends before its {n_numbers} numbers do")
    numbers = struct.unpack_from(f">{n_numbers}f", data, place + 4)
    if not all(abs(number) <= FARTHEST for number in numbers):  # nor NaN
        raise ImageFileError(f"byte {place}: {numbers} are not levels of a color")
    if model == b"LAB ":
        levels = _srgb_from_lab(*numbers)
    elif model == b"CMYK":
        levels = tuple((1 - _clipped(ink)) * (1 - _clipped(numbers[3])) for ink in numbers[:3])
    else:
        levels = numbers * (3 // n_numbers)
    red, green, blue = (math.floor(_clipped(level) * 255 + 0.5) for level in levels)
    return red, green, blue, 255


def _srgb_from_lab(lightness: float, a: float, b: float) -> tuple[float, ...]:  # 0..1, -128..127 -> 0..1
    """CIE Lab of D50 in sRGB."""
    middle = (100 * _clipped(lightness) + 16) / 116
    roots = middle + min(max(a, -128.0), 127.0) / 500, middle, middle - min(max(b, -128.0), 127.0) / 200
    white = zip(roots, _XYZ_OF_D50, strict=True)
    xyz = [full * (root**3 if root > 6 / 29 else (root - 4 / 29) * 108 / 841) for root, full in white]
    linear = [_clipped(sum(c * x for c, x in zip(row, xyz, strict=True))) for row in _LINEAR_FROM_XYZ]
    return tuple(12.92 * one if one <= 0.0031308 else 1.055 * one ** (1 / 2.4) - 0.055 for one in linear)


def _clipped(level: float) -> float:
    return min(max(level, 0.0), 1.0)


def write_act(palette: PaletteEntries, _: str) -> bytes:
    """A table of 256 colors, how many of them count, and which one is clear."""
    alpha = palette.rgba[:, 3]
    clear: npt.NDArray[np.int64] = (alpha == 0).nonzero()[0]
    if len(clear) > 1 or bool(((alpha > 0) & (alpha < 255)).any()):
        raise ArgumentError(f".act palettes hold opaque colors and one clear one only; use {endings_with_alpha()}")
    table = palette.rgba[:, :3].tobytes().ljust(3 * ACT_ENTRIES, b"\0")
    return table + struct.pack(">HH", len(palette), int(clear[0]) if len(clear) else NO_INDEX)


def read_act(data: bytes) -> list[Entry]:
    """768 bytes of 256 colors, and 4 more where fewer count or one is clear."""
    n_bytes = 3 * ACT_ENTRIES
    if len(data) not in (n_bytes, n_bytes + 4):
        raise ImageFileError(f"byte {len(data)}: the file ends here; an .act palette has {n_bytes} or {n_bytes + 4}")
    n_entries, clear = struct.unpack_from(">HH", data, n_bytes) if len(data) > n_bytes else (ACT_ENTRIES, NO_INDEX)
    if not 1 <= n_entries <= ACT_ENTRIES:
        raise ImageFileError(f"byte {n_bytes}: {n_entries} colors; an .act palette has from 1 to {ACT_ENTRIES}")
    rows = zip(*(data[channel : 3 * n_entries : 3] for channel in range(3)), strict=True)
    return [(*row, 0 if index == clear else 255) for index, row in enumerate(rows)]

"""What a file without an ICC profile says of its colors: as a profile where it can be followed, or else as a note."""

import struct
from typing import BinaryIO

from gpuquant.image_directories import EXIF, INTEROPERABILITY, DirectoryFile, exif_directories
from gpuquant.image_png import ABOUT_COLORS, Png
from gpuquant.image_profiles import (
    ADOBE_RGB,
    BT709,
    CODED_CURVES,
    D65,
    SRGB_CURVE,
    ColorSpace,
    coded_space,
    icc_profile,
    is_srgb,
)

TAKEN = "colors are taken for sRGB"
PREFIX = "the file's "
COLOR_SPACE, UNCALIBRATED = 40961, 0xFFFF
TRANSFER_FUNCTION, WHITE_POINT, PRIMARIES = 301, 318, 319

Said = tuple[bytes | None, tuple[str, ...]]  # a profile, and notes
NOTHING: Said = (None, ())


def colors_of_png(png: Png, *, grey: bool) -> Said | None:
    """By precedence: cICP, iCCP, sRGB, gAMA with or without cHRM. None where the ICC profile holds."""
    first = next((name for name in ABOUT_COLORS if name in png.chunks), None)
    if first is None or first == b"sRGB":
        return NOTHING
    if first == b"iCCP":
        return None
    if first == b"cICP":
        primaries, transfer, matrix, full_range = png.chunks[b"cICP"][:4]
        space = coded_space(primaries, transfer) if (matrix, full_range) == (0, 1) else None
        return _said(space, f"cICP chunk ({primaries}, {transfer}, {matrix}, {full_range})", grey=grey)
    return _said(_gamma_space(png), "gAMA chunk" if first == b"gAMA" else "cHRM chunk", grey=grey)


def _gamma_space(png: Png) -> ColorSpace | None:
    curve: float | tuple[float, float, float, float, float] = SRGB_CURVE
    if b"gAMA" in png.chunks:
        exponent = struct.unpack_from(">I", png.chunks[b"gAMA"])[0] / 100_000
        if not 0.05 <= exponent <= 5:
            return None
        curve = 1 / exponent
    if b"cHRM" not in png.chunks:
        return ColorSpace(curve)
    levels = [level / 100_000 for level in struct.unpack_from(">8I", png.chunks[b"cHRM"])]
    white, red, green, blue = ((levels[place], levels[place + 1]) for place in (0, 2, 4, 6))
    return ColorSpace(curve, (red, green, blue), white)


def colors_of_exif(block: bytes, *, grey: bool) -> Said:
    """By ColorSpace and, for Adobe RGB, the interoperability index of DCF."""
    directories = exif_directories(block)
    for exif in directories.below(directories.at(directories.first), EXIF) if directories.first else ():
        color_space = exif.number(COLOR_SPACE)
        indices = [found.tags.get(1) for found in directories.below(exif, INTEROPERABILITY)]
        if color_space == UNCALIBRATED and "R03" in indices:
            return _said(ADOBE_RGB, "EXIF block (Adobe RGB)", grey=grey)
        if color_space is not None and color_space not in (0, 1):
            words = "uncalibrated" if color_space == UNCALIBRATED else f"{color_space}"
            return None, (f"the file's EXIF block gives another color space than sRGB ({words}); {TAKEN}",)
    return NOTHING


def colors_of_tiff(file: BinaryIO) -> Said:
    """By the chromaticities of its white and primaries, and its transfer function."""
    directories = DirectoryFile(file)
    tags = directories.at(directories.first) if directories.first else None
    if tags is None:
        return NOTHING
    white, primaries = tags.numbers(WHITE_POINT), tags.numbers(PRIMARIES)
    known = [*D65], [place for corner in BT709 for place in corner]
    named = [
        name
        for name, found, usual in (("WhitePoint", white, known[0]), ("PrimaryChromaticities", primaries, known[1]))
        if found and (len(found) != len(usual) or max(abs(a - b) for a, b in zip(found, usual, strict=True)) > 0.0015)
    ]
    if TRANSFER_FUNCTION in tags.tags and not _is_about_srgb(tags.numbers(TRANSFER_FUNCTION)):
        named.append("TransferFunction")
    return (None, (f"{PREFIX}{' and '.join(named)} cannot be followed; {TAKEN}",)) if named else NOTHING


def _is_about_srgb(table: tuple[float, ...]) -> bool:
    """Whether a transfer function of 256 entries, once or for each channel, is sRGB's or its gamma of 2.2."""
    if len(table) not in (256, 768):
        return False
    levels = [place % 256 / 255 for place in range(len(table))]
    exact = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return max(abs(a / 65535 - b) for a, b in zip(table, exact, strict=True)) < 0.01


def colors_of_container(file: BinaryIO, *, grey: bool) -> Said:
    """By the color box of an AVIF file: nclx, ISO/IEC 23000-22 and 14496-12."""
    file.seek(0)
    head = file.read(65_536)
    place = head.find(b"colrnclx")
    if place < 4 or len(head) < place + 15:
        return NOTHING
    primaries, transfer = struct.unpack_from(">HH", head, place + 8)
    if primaries in (1, 2) and transfer in (1, 2, 6, 13, 14, 15):  # not given, or as cameras and encoders mean sRGB
        return NOTHING
    space = coded_space(1 if primaries == 2 else primaries, 13 if transfer == 2 else transfer)
    return _said(space, f"nclx color box ({primaries}, {transfer})", grey=grey)


def _said(space: ColorSpace | None, name: str, *, grey: bool) -> Said:
    if space is not None and is_srgb(space):
        return NOTHING
    if space is not None and grey and space.curve == CODED_CURVES[13]:
        return NOTHING  # white is white, whatever the primaries are
    profile = icc_profile(space, grey=grey) if space is not None else None
    return (profile, ()) if profile else (None, (f"{PREFIX}{name} cannot be followed; {TAKEN}",))

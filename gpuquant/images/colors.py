"""The colors of a file that says of them something other than an ICC profile: a profile made of it, or a note.

Of JPEG 2000 and BMP, whose ICC profile Pillow leaves in the file, that profile.
"""

import re
import struct
from typing import Any, BinaryIO

from gpuquant.images.directories import EXIF, INTEROPERABILITY, DirectoryFile, exif_directories
from gpuquant.images.png import ABOUT_COLORS, Png
from gpuquant.images.profiles import (
    ADOBE_RGB,
    BT709,
    CODED_CURVES,
    D65,
    ROUNDING,
    SRGB_CURVE,
    ColorSpace,
    coded_space,
    icc_profile,
    is_srgb,
)

TAKEN = "colors are taken for sRGB"
PREFIX = "the file's "
MOST_BYTES = 1_000_000  # of a file that are looked at: usual profiles of CMYK, the longest, have some 600,000
COLOR_SPACE, UNCALIBRATED = 40961, 0xFFFF  # EXIF's tag, and its value for all but sRGB
TRANSFER_FUNCTION, WHITE_POINT, PRIMARIES = 301, 318, 319  # tags of TIFF 6.0
GAMMAS = 0.05, 5  # exponents beyond are damage: those of displays and scenes, 1 / 2.8 to 2.8, leave room on both sides
CURVE_MARGIN = 0.01  # of linear levels 0..1: gamma 2.2 is up to 0.0085 from sRGB's curve, 2.1 and 2.4 are 0.025
NCLX = re.compile(rb"colrnclx(....)", re.DOTALL)  # ISO/IEC 14496-12: numbers of H.273 for primaries and transfer
ENUMERATED = (12, 16, 17, 18)  # ISO/IEC 15444-1 and -2: CMYK, sRGB, gray and sYCC, which decoders convert
PLAIN_KINDS = (b"BGRs", b" niW")  # sRGB and the system's colors, letters of a number that is stored from its end

Said = tuple[bytes | None, tuple[str, ...]]  # a profile, and notes
NOTHING: Said = (None, ())


def colors_of_png(png: Png, exif: bytes | None, *, gray: bool) -> Said | None:
    """Read the colors by precedence: cICP, iCCP, sRGB, gAMA with or without cHRM, EXIF. None: the ICC profile holds."""
    first = next((name for name in ABOUT_COLORS if name in png.chunks), None)
    if first is None:
        return colors_of_exif(exif, gray=gray) if exif else NOTHING
    if first == b"sRGB":
        return NOTHING
    if first == b"iCCP":
        return None
    if first == b"cICP":
        primaries, transfer, matrix, full_range = png.chunks[b"cICP"][:4]
        space = coded_space(primaries, transfer) if (matrix, full_range) == (0, 1) else None
        return _said(space, f"cICP chunk ({primaries}, {transfer}, {matrix}, {full_range})", gray=gray)
    return _said(_gamma_space(png), "gAMA chunk" if first == b"gAMA" else "cHRM chunk", gray=gray)


def _gamma_space(png: Png) -> ColorSpace | None:
    curve: float | tuple[float, float, float, float, float] = SRGB_CURVE
    if b"gAMA" in png.chunks:
        exponent = struct.unpack_from(">I", png.chunks[b"gAMA"])[0] / 100_000
        if not GAMMAS[0] <= exponent <= GAMMAS[1]:
            return None
        curve = 1 / exponent
    if b"cHRM" not in png.chunks:
        return ColorSpace(curve)
    levels = [level / 100_000 for level in struct.unpack_from(">8I", png.chunks[b"cHRM"])]
    white, red, green, blue = ((levels[place], levels[place + 1]) for place in (0, 2, 4, 6))
    return ColorSpace(curve, (red, green, blue), white)


def colors_of_file(image_format: str | None, file: BinaryIO, exif: bytes | None, *, gray: bool) -> Said:
    """Read the colors by the chunks or tags of a format other than PNG, or else by EXIF."""
    said = NOTHING
    if image_format == "TIFF":
        said = colors_of_tiff(file, gray=gray)
    elif image_format == "JPEG2000":
        said = colors_of_jpeg2000(file)
    elif image_format in ("BMP", "DIB"):
        said = colors_of_bmp(file)
    elif image_format in ("AVIF", "HEIF"):
        said = colors_of_container(file, gray=gray)
    return colors_of_exif(exif, gray=gray) if exif and said == NOTHING else said


def colors_of_info(info: dict[Any, Any], exif: bytes | None, *, gray: bool) -> Said | None:
    """Read the colors by what Pillow keeps of a PNG's chunks in `info`, or by EXIF. None: the ICC profile holds."""
    chunks: dict[bytes, bytes] = {b"iCCP": b""} if "icc_profile" in info else {}
    try:
        if "srgb" in info:
            chunks[b"sRGB"] = b"\0"
        if "gamma" in info:
            chunks[b"gAMA"] = struct.pack(">I", round(info["gamma"] * 100_000))
        if "chromaticity" in info:
            chunks[b"cHRM"] = struct.pack(">8I", *(round(level * 100_000) for level in info["chromaticity"]))
    except (TypeError, ValueError, OverflowError, struct.error):
        return NOTHING  # anybody may write there
    return colors_of_png(Png((0, 0), 8, 2, chunks), exif, gray=gray)


def colors_of_exif(block: bytes, *, gray: bool) -> Said:
    """Read the colors by ColorSpace and, for Adobe RGB, by the interoperability index of DCF."""
    return _said_by_exif(exif_directories(block), gray=gray)


def _said_by_exif(directories: DirectoryFile, *, gray: bool) -> Said:
    for exif in directories.below(directories.at(directories.first), EXIF) if directories.first else ():
        color_space = exif.number(COLOR_SPACE)
        indices = [found.tags.get(1) for found in directories.below(exif, INTEROPERABILITY)]
        if color_space == UNCALIBRATED and "R03" in indices:
            return _said(ADOBE_RGB, "EXIF block (Adobe RGB)", gray=gray)
        if color_space is not None and color_space not in (0, 1):
            words = "uncalibrated" if color_space == UNCALIBRATED else f"{color_space}"
            return None, (f"the file's EXIF block gives another color space than sRGB ({words}); {TAKEN}",)
    return NOTHING


def colors_of_tiff(file: BinaryIO, *, gray: bool) -> Said:
    """Read the colors by the chromaticities of white and primaries and by the transfer function, or else by EXIF."""
    directories = DirectoryFile(file)
    tags = directories.at(directories.first) if directories.first else None
    if tags is None:
        return NOTHING
    white, primaries = tags.numbers(WHITE_POINT), tags.numbers(PRIMARIES)
    known = [*D65], [place for corner in BT709 for place in corner]
    named = [
        name
        for name, found, usual in (("WhitePoint", white, known[0]), ("PrimaryChromaticities", primaries, known[1]))
        if found and (len(found) != len(usual) or max(abs(a - b) for a, b in zip(found, usual, strict=True)) > ROUNDING)
    ]
    if TRANSFER_FUNCTION in tags.tags and not _is_about_srgb(tags.numbers(TRANSFER_FUNCTION)):
        named.append("TransferFunction")
    return _untold(" and ".join(named)) if named else _said_by_exif(directories, gray=gray)


def _is_about_srgb(table: tuple[float, ...]) -> bool:
    """True of a transfer function of 256 entries, once or for each channel, that is sRGB's or its gamma of 2.2."""
    if len(table) not in (256, 768):
        return False
    levels = [place % 256 / 255 for place in range(len(table))]
    exact = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return max(abs(a / 65535 - b) for a, b in zip(table, exact, strict=True)) < CURVE_MARGIN


def colors_of_container(file: BinaryIO, *, gray: bool) -> Said:
    """Read the colors by the color box of an AVIF or HEIF file: nclx, ISO/IEC 23000-22 and 14496-12."""
    file.seek(0)
    every = {struct.unpack(">HH", found) for found in NCLX.findall(file.read(65_536))}
    every = {codes for codes in every if codes[0] not in (1, 2) or codes[1] not in (1, 2, 6, 13, 14, 15)} and every
    if not every:  # not given, or as cameras and encoders mean sRGB
        return NOTHING
    if len(every) > 1:  # of the picture and of others in the file
        return _untold("nclx color boxes, of which there are several,")
    primaries, transfer = every.pop()
    space = coded_space(1 if primaries == 2 else primaries, 13 if transfer == 2 else transfer)
    return _said(space, f"nclx color box ({primaries}, {transfer})", gray=gray)


def colors_of_jpeg2000(file: BinaryIO) -> Said:
    """Read the colors by the color box before the pixels: ISO/IEC 15444-1, I.5.3.3."""
    file.seek(0)
    head = file.read(MOST_BYTES).partition(b"jp2c")[0]
    place = head.find(b"colr")
    if place < 4 or len(head) < place + 11:
        return NOTHING
    size, _, method, _, _, number = struct.unpack_from(">I4sBBBI", head, place - 4)
    if method != 1:
        return head[place + 7 : place - 4 + size] or None, ()
    return NOTHING if number in ENUMERATED else _untold(f"color space ({number})")


def colors_of_bmp(file: BinaryIO) -> Said:
    """Read the colors by the header of versions 4 and 5: BITMAPV5HEADER in the documentation of Windows."""
    file.seek(14)
    header = file.read(124)
    if len(header) < 124 or int.from_bytes(header[:4], "little") not in (108, 124):
        return NOTHING
    kind, size = header[56:60], int.from_bytes(header[116:120], "little")
    if kind == b"DEBM" and header[0] == 124 and size <= MOST_BYTES:  # embedded
        file.seek(14 + int.from_bytes(header[112:116], "little"))
        return file.read(size) or None, ()
    if kind in PLAIN_KINDS or not any(header[56:108]):
        return NOTHING
    return _untold("linked profile" if kind == b"KNIL" else "gamma and endpoints" if not any(kind) else "color space")


def _untold(name: str) -> Said:
    return None, (f"{PREFIX}{name} cannot be followed; {TAKEN}",)


def _said(space: ColorSpace | None, name: str, *, gray: bool) -> Said:
    if space is not None and is_srgb(space):
        return NOTHING
    if space is not None and gray and space.curve == CODED_CURVES[13]:
        return NOTHING  # white is white, whatever the primaries are
    profile = icc_profile(space, gray=gray) if space is not None else None
    return (profile, ()) if profile else _untold(name)

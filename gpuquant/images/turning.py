"""Turning photos upright, by what their EXIF block or XMP says, however damaged the rest of these is."""

import re

from PIL import Image

from gpuquant.images.directories import exif_directories

ORIENTATION = 0x0112  # EXIF's tag
TURNS = {  # EXIF 2.32, table 4.6.5: what makes a photo upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # where rows become columns
XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
UNREADABLE = "the EXIF block cannot be read; the photo is taken as upright"


def orientation_of(image: Image.Image) -> tuple[int, tuple[str, ...]]:
    """The orientation of a photo, from 1, upright, to 8, and a note if it cannot be known."""
    try:
        found = image.getexif().get(ORIENTATION)
        damaged = False
    except Exception:  # what Pillow raises on these is not limited
        found, damaged = None, True
    if found is None:
        block = image.info.get("exif")
        if isinstance(block, bytes) and block.removeprefix(b"Exif\0\0"):
            directories = exif_directories(block)
            first = directories.at(directories.first) if directories.first else None
            found = first.number(ORIENTATION) if first else None
            damaged = first is None or not first.whole
    if found is None:
        found = _orientation_of_xmp(image)
    if isinstance(found, int) and 1 <= found <= 8:
        return found, ()
    return 1, ((UNREADABLE,) if damaged else ())


def _orientation_of_xmp(image: Image.Image) -> int | None:
    for name in ("xmp", "XML:com.adobe.xmp"):
        packet = image.info.get(name)
        data = packet.encode(errors="replace") if isinstance(packet, str) else packet
        match = XMP.search(data) if isinstance(data, bytes) else None
        if match:
            return int(match[1])
    return None


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image, turned; its profile and transparency go with it."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image

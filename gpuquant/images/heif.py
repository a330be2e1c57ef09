"""HEIF and AVIF, the formats of phones: HEIF needs another package, and AVIF a Pillow that is new enough."""

import io
from importlib import import_module
from typing import BinaryIO

import PIL
from PIL import Image, features

HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}  # a picture, and a sequence of them
INSTALL = "pip install 'gpuquant[heic]'"
UPDATE = "pip install -U pillow"
MOST_BOXES = 1000  # that are looked at in one file: a damaged one may have any number of them
HEAD = 256  # bytes in which a file names its brands: ISO/IEC 14496-12, "ftyp"


def register() -> str | None:
    """Have Pillow read HEIC; None, or what to do where that cannot be."""
    try:
        import_module("pillow_heif").register_heif_opener()
    except ModuleNotFoundError as error:
        return INSTALL if error.name == "pillow_heif" else f"pillow-heif does not work: {error}"
    except ImportError as error:  # of a library below it
        return f"pillow-heif does not work: {error}"
    return None


def reads_avif() -> bool:
    """Tell whether this Pillow reads AVIF: it is new enough, and built with it."""
    return "avif" in features.modules and bool(features.check("avif"))


def avif_advice() -> str:
    """The way to a Pillow that reads AVIF."""
    old = tuple(map(int, PIL.__version__.split(".")[:2])) < (11, 3)
    return f"Pillow 11.3 or newer reads it: {UPDATE}" if old else "this Pillow was built without it; its wheels have it"


def kind_of(file: BinaryIO) -> str | None:
    """ "HEIC", "AVIF" or None, by the brands that a file says it is of."""
    file.seek(0)
    head = file.read(HEAD)
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & HEIC_BRANDS else None


def missing_reader(file: BinaryIO) -> str | None:
    """Name the format of a HEIC or AVIF file that cannot be read here, and what to install; None for any other."""
    kind = kind_of(file)
    if kind == "AVIF" and not reads_avif():
        return f"an AVIF photo; {avif_advice()}"
    if kind == "HEIC" and (way_out := register()):
        return f"a HEIC photo, which needs another package: {way_out}"
    return None


def notes_on(image: Image.Image, file: BinaryIO) -> tuple[str, ...]:
    """Say what is lost in reading a HEIC or AVIF photo where its decoder does not."""
    if image.format not in ("HEIF", "AVIF"):
        return ()
    n_bits = image.info.get("bit_depth", 8)
    depth = (f"{n_bits} bits a channel are reduced to 8",) if n_bits > 8 else ()
    return ("the file is damaged: its end is missing; some of its pixels may be wrong",) * _ends_early(file) + depth


def _ends_early(file: BinaryIO) -> bool:
    """True of a file whose last box, by its length, does not end in it: ISO/IEC 14496-12."""
    end, place = file.seek(0, io.SEEK_END), 0
    for _ in range(MOST_BOXES):
        file.seek(place)
        header = file.read(16)
        if len(header) < 8:
            break
        if not header[4:8].isalnum():  # something else follows the boxes
            return False
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # then 8 bytes after its name have it
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: to the end of the file
            return False
        place += length
    return place > end

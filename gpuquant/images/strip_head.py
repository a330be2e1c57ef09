"""A photo before its pixels are decoded: how they are stored and rendered, and why they cannot come in strips."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from PIL import Image

from gpuquant.errors import ArgumentError
from gpuquant.images.alpha import has_alpha
from gpuquant.images.guard import Reading
from gpuquant.images.heif import notes_on
from gpuquant.images.png import miniature, read_png
from gpuquant.images.reading import (
    KNOWN_MODES,
    as_the_file_says,
    notes_before_decoding,
    notes_on_preview,
    with_image,
)
from gpuquant.images.rendering import Rendering, rendering_of
from gpuquant.images.samples import BITS_PER_SAMPLE, COLOR_MAP, PHOTOMETRIC, Range, mend_palette, range_of
from gpuquant.images.sources import Source
from gpuquant.images.turning import SIDEWAYS, orientation_of
from gpuquant.images.words import notes_of
from gpuquant.memory import OF_PIXEL

FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "TIFF": "TIFF"}  # Pillow's names, and libvips'
RENDERED = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}
RENDERED |= dict.fromkeys(("I;16", "I;16B", "I;16L"), "I;16")
COMPRESSION, STRIP_BYTES, PLANES, TILE_HEIGHT, EXTRA_SAMPLES = 259, 279, 284, 323, 338  # tags of TIFF
WHITE_IS_ZERO, YCBCR, SEPARATE, PREMULTIPLIED = 0, 6, 2, 1  # values of them
COMPRESSIONS = {1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits"}
COMPRESSIONS |= {32946: "deflate"}
HELD_FREELY = 1 << 24  # bytes beside the budget: about what threads hold of tiles or rows of a photo of this size
LONG_ROW = 1 << 20  # pixels, which then take as much
MULTISCAN = (0xC2, 0xC6, 0xCA, 0xCE)  # markers of progressive frames: ITU-T T.81, table B.1
FRAMES = tuple(marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
BYTES_A_PIXEL = {"1": 3, "L": 3, "I": 5, "P": 11, "RGB": 10, "LA": 16, "PA": 16, "RGBA": 16, "CMYK": 14, "LAB": 14}
"""Of memory at peak, in which `read_photo` reads an image of a mode: measured on 20 megapixels."""
MOST_BYTES_A_PIXEL = 16
MORE_BYTES_A_PIXEL = {"WEBP": 10, "JPEG2000": 10, "AVIF": 3, "HEIF": 1}  # of these decoders, measured as well
TURNED_BYTES_A_PIXEL = 4  # of a copy by Pillow


@dataclass(frozen=True, eq=False)
class Head:
    """Beside the pixels, all of a photo."""

    image_format: str  # as libvips knows it
    size: tuple[int, int]  # width and height, maybe upright
    n_bytes: int  # of memory that reading it whole takes, about
    only_whole: str = ""  # why it cannot be decoded in strips
    n_held: int = 0  # bytes of one row on its way, and what the decoder holds beside some of them, where these are many
    mode: str = "RGB"  # of strips that are rendered
    has_alpha: bool = False
    orientation: int = 1
    levels: Range | None = None  # of samples
    rendering: Rendering | None = None
    notes: tuple[str, ...] = ()


def read_head(source: Source, *, max_pixels: int, preview: bool) -> Head:
    """Read all that `read_photo` reads, but the pixels.

    Raises
    ------
    ImageFileError
        As `read_photo` raises it of a file that it does not begin to decode.
    """

    def read(image: Image.Image, file: BinaryIO, reading: Reading, lost: tuple[str, ...]) -> Head:
        notes = notes_on_preview(image, file, preview) + notes_on(image, file)
        a_pixel = BYTES_A_PIXEL.get(image.mode.partition(";")[0], MOST_BYTES_A_PIXEL)
        a_pixel += MORE_BYTES_A_PIXEL.get(str(image.format), 0)
        n_bytes = a_pixel * image.width * image.height + file.seek(0, io.SEEK_END)
        head = Head(str(image.format), image.size, n_bytes, notes=notes)
        if lost:
            return replace(head, only_whole="a file whose metadata are damaged")
        reason = _only_whole(image, file)
        if reason:
            return replace(head, only_whole=reason)
        head = replace(head, image_format=FORMATS[head.image_format], n_held=_n_held(image, file))
        try:
            head = _described(image, file, head)
        except ArgumentError:
            raise
        except Exception:  # what Pillow raises is not limited; decoding the whole tells it, or a way around it
            return replace(head, only_whole="a file whose metadata are damaged")
        said = notes_of(reading.said, is_tiff=image.format == "TIFF", damaged=reading.damaged)
        return replace(head, notes=(*dict.fromkeys(head.notes + said),))

    return with_image(source, max_pixels, read)


def _only_whole(image: Image.Image, file: BinaryIO) -> str:
    """Say why an image cannot be decoded in strips, or not to the same pixels; in words that name the kind of file."""
    if image.format not in FORMATS:
        return f"a file of the format {image.format}"
    if image.mode not in RENDERED:
        return f"a {image.format} of mode {image.mode}"
    if image.format == "PNG":
        png = read_png(file)
        if png is None:
            return "a damaged PNG"
        if png.is_interlaced:
            return "an interlaced PNG"
        if png.depth == 16 and png.clear_levels:
            return "a PNG of 16 bits with a transparent color"
    if image.format == "TIFF":
        return _only_whole_tiff(image)
    return ""


def _only_whole_tiff(image: Image.Image) -> str:
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    compression, bits = tags.get(COMPRESSION, 1), tags.get(BITS_PER_SAMPLE, (1,))
    photometric = tags.get(PHOTOMETRIC, WHITE_IS_ZERO)
    if compression not in COMPRESSIONS:
        return f"a TIFF of compression {image.info.get('compression', compression)}"
    if photometric == YCBCR and COMPRESSIONS[compression] != "JPEG":
        return "a TIFF of YCbCr without JPEG"
    if photometric == WHITE_IS_ZERO and max(bits) > 8:
        return f"a TIFF of {max(bits)} bits whose 0 is white"
    if tags.get(PLANES) == SEPARATE and TILE_HEIGHT in tags:
        return "a TIFF of tiles and separate planes"
    if PREMULTIPLIED in tags.get(EXTRA_SAMPLES, ()):
        return "a TIFF of colors that are multiplied by alpha"
    return ""


def _n_held(image: Image.Image, file: BinaryIO) -> int:
    """Count the bytes that a decoder holds before the first row, or beside it."""
    if image.format == "TIFF":
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        row_bytes = max(8, sum(tags.get(BITS_PER_SAMPLE, (1,)))) * max(image.size) // 8
        n_held = 2 * row_bytes * (tags.get(TILE_HEIGHT) or 0)  # two rows of tiles
        n_held += max(tags.get(STRIP_BYTES, (0,))) if tags.get(COMPRESSION, 1) != 1 else 0  # before it is decoded
    else:
        n_held = 2 * _n_coefficients(file) if image.format != "PNG" else 0
    return int(n_held) if n_held > HELD_FREELY else 0


def _n_coefficients(file: BinaryIO) -> int:
    """Count the coefficients, of 16 bits, that libjpeg holds of a JPEG of several scans; 0 of one."""
    n_samples, n_components, is_progressive = 0, 0, False
    for marker, data in _segments(file):
        if marker in FRAMES and len(data) > 5 and len(data) >= 6 + 3 * data[5]:
            height, width, n_components = int.from_bytes(data[1:3]), int.from_bytes(data[3:5]), data[5]
            factors = [divmod(data[7 + 3 * place], 16) for place in range(n_components)]
            most = max((a for a, _ in factors), default=1) * max((b for _, b in factors), default=1)
            n_samples = sum(width * height * a * b // max(most, 1) for a, b in factors)
            is_progressive = marker in MULTISCAN
        if marker == 0xDA:
            return n_samples if is_progressive or (data and data[0] < n_components) else 0
    return 0


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Markers and their data, up to the first scan."""
    file.seek(2)
    while len(head := file.read(2)) == 2 and head[0] == 0xFF:
        if head[1] == 0xFF:  # a byte that fills
            file.seek(-1, io.SEEK_CUR)
            continue
        size = file.read(2)
        yield head[1], file.read(max(0, int.from_bytes(size) - 2))
        if head[1] == 0xDA:
            return


def _described(image: Image.Image, file: BinaryIO, head: Head) -> Head:
    if image.format != "PNG":
        return _described_by(image, file, head)
    small = miniature(file)  # Pillow reads what follows the pixels only with them
    if small is None:
        return replace(head, only_whole="an animated PNG")
    with Image.open(small) as one_pixel:
        return _described_by(one_pixel, small, head)


def _described_by(image: Image.Image, file: BinaryIO, head: Head) -> Head:
    if not isinstance(image.info.get("xmp", b""), bytes | str):
        del image.info["xmp"]  # numbers in a TIFF, over which Pillow stumbles
    levels, notes = range_of(image), head.notes + notes_before_decoding(image)
    if levels.n_bits > 8:
        notes += (f"{levels.n_bits} bits a channel are reduced to 8",)
    color_map = getattr(image, "tag_v2", {}).get(COLOR_MAP)
    if image.format == "PNG":
        image.load()
    assert image.mode in KNOWN_MODES
    orientation, more = orientation_of(image)
    probe = Image.new(image.mode, (1, 1))
    probe.info = dict(image.info)
    transparent = has_alpha(probe)
    notes += more + mend_palette(probe, color_map)
    probe, more = as_the_file_says(probe, image.format, file)
    notes += more
    colors = Image.new(RENDERED[image.mode], (1, 1))
    profile = probe.info.get("icc_profile")
    if profile:
        colors.info["icc_profile"] = profile
    if transparent and colors.mode == "RGB" and isinstance(profile, bytes) and profile[16:20] == b"GRAY":
        return replace(head, only_whole="a file of colors with a profile for gray")
    rendering = rendering_of(colors, levels)
    n_across = max(head.size) if orientation in SIDEWAYS else head.size[0]
    return replace(
        head,
        n_held=head.n_held + (OF_PIXEL * n_across if n_across > LONG_ROW else 0),
        mode=colors.mode,
        has_alpha=transparent,
        orientation=orientation,
        levels=levels,
        rendering=rendering,
        n_bytes=head.n_bytes + (orientation > 1) * TURNED_BYTES_A_PIXEL * head.size[0] * head.size[1],
        notes=notes + rendering.notes,
    )

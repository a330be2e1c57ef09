"""Image files made byte by byte, and photos that are awkward to read."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageCms


def tiff(
    data: bytes,
    width: int,
    height: int,
    tags: dict[int, tuple[int, tuple[int, ...]]] | None = None,
    *,
    order: str = "<",
    bits: tuple[int, ...] = (16,),
    photometric: int | None = 1,
    sample_format: int | None = None,
) -> bytes:
    """An uncompressed TIFF of one strip; `tags` are further ones, each a type (3 SHORT, 4 LONG, 5 pairs) and values."""
    every: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (3, (width,)),
        257: (3, (height,)),
        258: (3, bits),
        259: (3, (1,)),
        277: (3, (len(bits),)),
        278: (3, (height,)),
        279: (4, (len(data),)),
    }
    if photometric is not None:
        every[262] = 3, (photometric,)
    if sample_format is not None:
        every[339] = 3, (sample_format,) * len(bits)
    every |= {273: (4, (8,))} | (tags or {})
    start = 8 + len(data) + len(data) % 2
    entries, outside = b"", b""
    end = start + 2 + 12 * len(every) + 4
    for tag, (kind, values) in sorted(every.items()):
        code, count = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I"}[kind], len(values) // (2 if kind == 5 else 1)
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", end + len(outside))
            outside += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, count) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start) + data + bytes(len(data) % 2)
    return head + struct.pack(f"{order}H", len(every)) + entries + bytes(4) + outside


def samples(values: list[int], code: str = "H", order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(values)}{code}", *values)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(depth: int, color_type: int, width: int, rows: list[bytes], *before: bytes, after: bytes = b"") -> bytes:
    """A PNG of rows without a filter; `before` and `after` are chunks around the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header), *before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


AVIF = ["a.avif"] if ".avif" in Image.registered_extensions() else []  # which old versions of Pillow do not know


AWKWARD = Path(__file__).parents[2] / "shared" / "photos" / "awkward"


PICTURES: dict[str, tuple[int, int, str]] = {
    "exifex_Landscape_6.jpg": (1200, 1800, ""),
    "exifex_Portrait_8.jpg": (1800, 1200, ""),
    "pillow_16_bit_noise.tif": (32, 32, "16 bits"),
    "pillow_frozenpond.mpo": (480, 640, ""),
    "pillow_hopper.Lab.tif": (128, 128, ""),
    "pillow_hopper_orientation_5.webp": (128, 128, ""),
    "pillow_iss634.apng": (245, 245, "first of 41 frames"),
    "pillow_iss634.gif": (245, 245, "first of 42 frames"),
    "pillow_pil_sample_cmyk.jpg": (100, 100, ""),
    "pillow_tiff_16bit_RGB.tiff": (40, 100, "16 bits"),
    "pillow_xmp_test.jpg": (1072, 2000, ""),
    "sharp_16-bit-grey-alpha.png": (96, 109, "16 bits"),
    "sharp_2x2_fdcce6.png": (2, 2, ""),
    "sharp_Channel_digital_image_CMYK_color.jpg": (333, 500, ""),
    "sharp_Flag_of_the_Netherlands-16bit.png": (600, 900, "16 bits"),
    "sharp_alpha-premultiply-1024x768-paper.png": (768, 1024, ""),
    "sharp_full-transparent.png": (300, 300, ""),
    "sharp_gain-map.jpg": (2160, 3840, ""),
    "sharp_gamma_dalai_lama_gray.jpg": (222, 258, ""),
    "sharp_giant-image.jpg": (14000, 20000, ""),
    "sharp_grey-8bit-alpha.png": (300, 400, ""),
    "sharp_low-contrast.jpg": (245, 300, ""),
    "sharp_p3.png": (8, 8, ""),
    "sharp_prophoto.png": (1, 1, ""),
    "sharp_tbgn2c16.png": (32, 32, "16 bits"),
}


TRANSPARENT = {  # which have clear pixels, and whether others are partly transparent
    "sharp_16-bit-grey-alpha.png": True,
    "sharp_alpha-premultiply-1024x768-paper.png": True,
    "sharp_full-transparent.png": False,
    "sharp_grey-8bit-alpha.png": True,
    "sharp_tbgn2c16.png": False,
}


ERRORS = {
    "pillow_broken.png": "begins as a PNG file, but is damaged",
    "pillow_broken_data_stream.png": "cannot be decoded",
    "pillow_decompression_bomb.gif": "65535 x 66601 = 4365 megapixels, more than the limit of 500.*--max-pixels",
    "sharp_65536-uint32-limit.png": "65536 x 65536 = 4295 megapixels, more than the limit of 500.*--max-pixels",
    "sharp_corrupt-header.jpg": "cannot be read",
    "sharp_truncated.jpg": "cannot be decoded: image file is truncated",
    "sharp_truncated.png": "cannot be decoded: image file is truncated",
}


needs_awkward = pytest.mark.skipif(not AWKWARD.is_dir(), reason="no folder of awkward photos")


def swapped_profile() -> ImageCms.ImageCmsProfile:
    """sRGB's profile with red and green in each other's place, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    n_tags = struct.unpack(">I", data[128:132])[0]
    tags = {bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(n_tags)}
    red, green = (bytes(data[tags[name] + 4 : tags[name] + 12]) for name in (b"rXYZ", b"gXYZ"))
    data[tags[b"rXYZ"] + 4 : tags[b"rXYZ"] + 12], data[tags[b"gXYZ"] + 4 : tags[b"gXYZ"] + 12] = green, red
    start = struct.unpack(">I", data[tags[b"desc"] + 4 : tags[b"desc"] + 8])[0]
    data[start + 28 : start + 32] = "xx".encode("utf-16-be")
    return ImageCms.ImageCmsProfile(io.BytesIO(bytes(data)))

"""Writing image files: indexed images without loss, and pictures for people."""

import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from gpuquant.errors import ArgumentError
from gpuquant.files import whole_file

FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"}
PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def indexed_image(
    labels: npt.NDArray[np.uint8],  # [H, W]
    colors: npt.NDArray[np.uint8],  # [K, 3], or [K, 4] with alpha, K <= 256
) -> Image.Image:
    """A Pillow image of mode P."""
    image = Image.fromarray(labels)
    image.putpalette(colors[:, :3].tobytes())
    if colors.shape[1] == 4:
        image.info["transparency"] = colors[:, 3].tobytes()
    return image


def check_format(path: str | Path, n_colors: int) -> str:
    """The format that a path's ending asks for.

    Raises
    ------
    ArgumentError
        The ending is unknown, or the format cannot hold so many colours.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ArgumentError(f"{path}: cannot write {suffix or 'a file without an ending'!r}; use .png, .tif or .gif")
    if FORMATS[suffix] == "GIF" and n_colors > 256:
        raise ArgumentError(f"{path}: a GIF holds at most 256 colors, not {n_colors}; use .png or .tif")
    return FORMATS[suffix]


def write_image(image: Image.Image, path: str | Path, compression: int | None = None) -> None:
    """Write an image without loss, so that a failure leaves no half file.

    An indexed PNG or TIFF gets the smallest bit depth that holds its palette; no format renumbers the palette. A PNG
    takes a zlib level from 0 (fast) to 9 (small); by default run lengths up to 16 colours, which are both faster and
    smaller there, and level 4 above, which takes a third of the time of level 6 for 3 to 9 % more bytes (measured on
    photos of 13 and 17 megapixels).

    Raises
    ------
    ArgumentError
        The path's ending is unknown.
    ImageFileError
        The file cannot be written.
    """
    image_format = check_format(path, 0)
    profile = image.info.get("icc_profile")
    with whole_file(path) as file:
        if image_format == "GIF":
            image = image.copy()
            alpha = image.info.pop("transparency", b"")
            clear = {"transparency": alpha.index(0)} if 0 in alpha else {}
            image.save(file, "GIF", optimize=False, **clear)
        elif image_format == "PNG":
            image.save(file, "PNG", **_compression(image, compression))
        elif "transparency" in image.info:  # which a TIFF's palette cannot hold
            image.convert("RGBA").save(file, "TIFF", compression="tiff_adobe_deflate", icc_profile=profile)
        elif image.mode == "P" and _bit_depth(image) < 8:
            _write_tiff(image, _bit_depth(image), profile, file)
        else:
            image.save(file, "TIFF", compression="tiff_adobe_deflate", icc_profile=profile)


def _compression(image: Image.Image, level: int | None) -> dict[str, int]:
    if level is not None:
        return {"compress_level": level}
    few = image.mode == "P" and _bit_depth(image) <= 4
    return {"compress_level": 4, "compress_type": zlib.Z_RLE if few else zlib.Z_DEFAULT_STRATEGY}


def write_picture(image: Image.Image, path: str | Path) -> None:
    """Write an RGB picture for people, where a lossy format will do.

    Raises
    ------
    ArgumentError
        The path's ending is unknown.
    ImageFileError
        The file cannot be written.
    """
    picture_format = check_picture_format(path)
    with whole_file(path) as file:
        image.save(file, picture_format, quality=92, icc_profile=image.info.get("icc_profile"))


def check_picture_format(path: str | Path) -> str:
    """The format that the ending of a picture's path asks for.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_FORMATS:
        raise ArgumentError(f"{path}: cannot write {suffix or 'a file without an ending'!r}; use .png or .jpg")
    return PICTURE_FORMATS[suffix]


def _bit_depth(image: Image.Image) -> int:
    """The smallest number of bits, a divisor of 8, that numbers all entries of an image's palette."""
    n_colors = len(image.getpalette("RGB") or []) // 3
    return next(bits for bits in (1, 2, 4, 8) if n_colors <= 1 << bits)


def _write_tiff(image: Image.Image, bits: int, profile: bytes | None, file: IO[bytes]) -> None:
    """An indexed TIFF of 1, 2 or 4 bits, which Pillow reads but has no way to ask for."""
    data = zlib.compress(image.tobytes("raw", f"P;{bits}"))
    palette = [level * 257 for level in image.getpalette("RGB") or []]  # to 16 bits
    columns = [palette[channel::3] for channel in range(3)]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = image.size
    tags[TiffImagePlugin.BITSPERSAMPLE] = bits
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = 1
    tags[TiffImagePlugin.COMPRESSION] = 8  # deflate
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 3  # by palette
    tags[TiffImagePlugin.COLORMAP] = tuple(
        level for column in columns for level in column + [0] * ((1 << bits) - len(column))
    )
    if profile:
        tags[TiffImagePlugin.ICCPROFILE] = profile
    tags[TiffImagePlugin.ROWSPERSTRIP] = image.height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(data)
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # counted from the end of the tags
    tags.save(file)
    file.write(data)

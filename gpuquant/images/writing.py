"""Writing image files: indexed images without loss, and pictures for people."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin
from torch import Tensor

from gpuquant.arguments import in_words
from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.images.note import KEYWORD
from gpuquant.images.packing import bit_depth, deflate_settings
from gpuquant.images.registry import (
    FORMATS,
    endings_for_all,
    picture_endings,
    pictures_by_ending,
    result_endings,
    result_formats,
    results_by_ending,
)
from gpuquant.tensors import as_numpy
from gpuquant.whole_file import BinaryFile, is_binary_file, whole_bytes, whole_file

MAX_ROW_BITS = (1 << 31) - 1 - 7 * 32  # that Pillow's encoders take, for pixels of up to 32 bits
MAX_TIFF_BYTES = (1 << 32) - 1  # its offsets have 32 bits
MAX_TIFF_HEADER = 1 << 12  # bytes of what a TIFF of ours has before its pixels, but for a profile and a note
MAX_JPEG_PROFILE = 255 * 65_519  # bytes, in as many pieces as can be numbered


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


def check_format(
    file: str | Path | BinaryFile,
    n_colors: int,
    *,
    image_format: str | None = None,  # in place of a path's ending
    size: tuple[int, int] | None = None,  # width and height, as stored or upright: no format tells them apart
    alpha: npt.NDArray[np.uint8] | Tensor | None = None,  # [K]
) -> str:
    """The format that is asked for, by name or by a path's ending: "PNG", "TIFF" or "GIF".

    Raises
    ------
    ArgumentError
        There is no such format, or it cannot hold so many colors, so many pixels in a row or column, or the colors'
        opacity; or the file is neither a path nor takes bytes.
    """
    name, formats = name_of(file), results_by_ending()
    if image_format is not None:
        ending = f".{image_format.lower().removeprefix('.')}" if isinstance(image_format, str) else ""
        if ending not in formats:
            raise ArgumentError(f"format={image_format!r} is unknown; use {in_words(map(repr, result_formats()))}")
    elif isinstance(file, str | os.PathLike):
        ending = _ending(file)
        if ending not in formats:
            ways = in_words(result_endings())
            raise ArgumentError(f"{name}: cannot write {ending or 'a file without an ending'!r}; use {ways}")
    else:
        ways = in_words(map(repr, result_formats()))
        raise ArgumentError(f"a file object has no ending; say what to write: format={ways}")
    kind = formats[ending]
    most = FORMATS[kind].max_colors
    if most and n_colors > most:
        raise ArgumentError(f"{name}: a {kind} holds at most {most} colors, not {n_colors}; use {endings_for_all()}")
    if not FORMATS[kind].holds_opacity and alpha is not None and not np.isin(as_numpy(alpha), (0, 255)).all():
        raise ArgumentError(f"{name}: a {kind} holds no partly transparent colors; use .png, or give a background")
    if size is not None:
        _check_size(name, kind, size)
    return kind


def name_of(file: str | Path | BinaryFile) -> str:
    """A path, or "the file" for an object that takes bytes.

    Raises
    ------
    ArgumentError
        It is neither.
    """
    if isinstance(file, str | os.PathLike):
        return str(file)
    if not is_binary_file(file):
        raise ArgumentError(f"file must be the path of a file to write, or a binary file, got {type(file).__name__}")
    return "the file"


def _ending(path: str | Path) -> str:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be the path of a file to write, got {type(path).__name__}")
    return Path(path).suffix.lower()


def _check_size(name: str, image_format: str, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ArgumentError(f"{name}: the image is empty ({size[0]} x {size[1]})")
    most = FORMATS[image_format].max_side
    if max(size) > most:
        limit = f"at most {most} pixels wide and high, not {size[0]} x {size[1]}"
        raise ArgumentError(f"{name}: a {image_format} is {limit}; use {endings_for_all()}")


@contextmanager
def _encoding(image: Image.Image, name: str, image_format: str, bits: int) -> Iterator[None]:
    """Make an error of ours of what an encoder raises, and of what it would call a lack of memory."""
    if image.width * bits > MAX_ROW_BITS:
        limit = f"rows of at most {MAX_ROW_BITS // bits} pixels can be written with {bits} bits each"
        raise ArgumentError(f"{name}: {limit}, not of {image.width}")
    try:
        yield
    except (GpuquantError, MemoryError):
        raise
    except Exception as error:  # Pillow's encoders raise errors of many kinds
        if image_format == "TIFF" and image.width * image.height * bits // 8 > MAX_TIFF_BYTES:
            raise _too_large(name) from None
        if isinstance(error, OSError):
            raise
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ImageFileError(f"{name} cannot be written: {words}") from None


def _too_large(name: str) -> ArgumentError:
    return ArgumentError(f"{name}: a TIFF holds at most 4 GiB, which the image does not fit into; use .png")


def write_image(
    image: Image.Image,
    file: str | Path | BinaryFile,
    compression: int | None = None,
    *,
    image_format: str | None = None,  # in place of a path's ending
    note: str | None = None,  # ASCII letters
) -> None:
    """Write an image without loss, so that a failure leaves no half file; the note is read by `read_note`.

    An indexed PNG or TIFF gets the smallest bit depth that holds its palette; no format renumbers the palette. A PNG
    takes a zlib level from 0 (fast) to 9 (small); by default run lengths up to 16 colors, which are both faster and
    smaller there, and level 4 above, which takes a third of the time of level 6 for 3 to 9 % more bytes (measured on
    photos of 13 and 17 megapixels).

    Raises
    ------
    ArgumentError
        There is no such format, or it cannot hold so many pixels.
    ImageFileError
        The file cannot be written.
    """
    image_format = check_format(file, 0, image_format=image_format, size=image.size)
    name, described = name_of(file), note and f"{KEYWORD} {note}"
    profile = image.info.get("icc_profile")
    as_rgba = image_format == "TIFF" and "transparency" in image.info  # which a TIFF's palette cannot hold
    whole = whole_file(file) if isinstance(file, str | os.PathLike) else whole_bytes(file)
    with whole as unfinished, _encoding(image, name, image_format, 32 if as_rgba else _bits(image)):
        if image_format == "GIF":
            image = image.copy()
            alpha = image.info.pop("transparency", b"")
            clear = {"transparency": alpha.index(0)} if 0 in alpha else {}
            image.save(unfinished, "GIF", optimize=False, comment=(described or "").encode(), **clear)
        elif image_format == "PNG":
            texts = PngImagePlugin.PngInfo()
            if note:
                texts.add_text(KEYWORD, note)
            image.save(unfinished, "PNG", pnginfo=texts, **_compression(image, compression))
        elif image.mode == "P" and _bit_depth(image) < 8 and not as_rgba:
            _write_tiff(image, name, profile, described, unfinished)
        else:
            about = {TiffImagePlugin.IMAGEDESCRIPTION: described} if described else {}
            pixels = image.convert("RGBA") if as_rgba else image
            pixels.save(unfinished, "TIFF", compression="tiff_adobe_deflate", icc_profile=profile, tiffinfo=about)


def _compression(image: Image.Image, level: int | None) -> dict[str, int]:
    if level is not None:
        return {"compress_level": level}
    settings = deflate_settings(_bit_depth(image) if image.mode == "P" else None, level)
    return {"compress_level": settings.level, "compress_type": settings.strategy}


def write_picture(image: Image.Image, path: str | Path) -> None:
    """Write an RGB picture for people, where a lossy format will do.

    Raises
    ------
    ArgumentError
        The path's ending is unknown, or the format cannot hold so many pixels, or the profile.
    ImageFileError
        The file cannot be written.
    """
    picture_format = check_picture_format(path)
    _check_size(str(path), picture_format, image.size)
    profile = image.info.get("icc_profile")
    if picture_format == "JPEG" and len(profile or b"") > MAX_JPEG_PROFILE:
        raise ArgumentError(f"{path}: a JPEG holds a color profile of at most {MAX_JPEG_PROFILE} bytes; use .png")
    with whole_file(path) as file, _encoding(image, str(path), picture_format, _bits(image)):
        image.save(file, picture_format, quality=92, icc_profile=profile)


def check_picture_format(path: str | Path) -> str:
    """The format that the ending of a picture's path asks for.

    Raises
    ------
    ArgumentError
        The ending is unknown.
    """
    ending, formats = _ending(path), pictures_by_ending()
    if ending not in formats:
        ways = in_words(picture_endings())
        raise ArgumentError(f"{path}: cannot write {ending or 'a file without an ending'!r}; use {ways}")
    return formats[ending]


def _bits(image: Image.Image) -> int:
    """Bits of a pixel that an encoder is given."""
    return _bit_depth(image) if image.mode == "P" else 8 * len(image.getbands())


def _bit_depth(image: Image.Image) -> int:
    """The smallest number of bits, a divisor of 8, that numbers all entries of an image's palette."""
    return bit_depth(len(image.getpalette("RGB") or []) // 3)


def _write_tiff(image: Image.Image, name: str, profile: bytes | None, described: str | None, file: IO[bytes]) -> None:
    """An indexed TIFF of 1, 2 or 4 bits, which Pillow reads but has no way to ask for."""
    bits = _bit_depth(image)
    data = zlib.compress(image.tobytes("raw", f"P;{bits}"))
    if len(data) + len(profile or b"") + len(described or "") > MAX_TIFF_BYTES - MAX_TIFF_HEADER:
        raise _too_large(name)
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
    if described:
        tags[TiffImagePlugin.IMAGEDESCRIPTION] = described
    tags[TiffImagePlugin.ROWSPERSTRIP] = image.height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = len(data)
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # counted from the end of the tags
    tags.save(file)
    file.write(data)

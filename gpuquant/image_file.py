"""The only room that knows file formats: reading images to pixels, writing indexed images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.files import whole_file

FORMATS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".gif": "GIF"}
_OPAQUE_MODES = {"RGB": "RGB", "P": "RGB", "L": "L", "1": "L"}


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:  # [H, W, 3], or grey [H, W]
    """Decode a file to upright pixels (EXIF orientation applied).

    Raises
    ------
    ImageFileError
        There is no such file, or it is not a whole image of a kind that is supported.
    """
    try:
        with Image.open(path) as image:
            return pixels_of(ImageOps.exif_transpose(image))
    except ArgumentError as error:
        raise ImageFileError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ImageFileError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise ImageFileError(f"{path} is not an image in a format that Pillow can read") from None
    except MemoryError:
        raise ImageFileError(f"{path} does not fit into memory") from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # Pillow's decoders raise all four
        raise ImageFileError(f"{path} cannot be read: {error}") from None


def pixels_of(image: Image.Image) -> npt.NDArray[np.uint8]:  # [H, W, 3], or grey [H, W]
    """The pixels of a Pillow image.

    Raises
    ------
    ArgumentError
        The image has transparency, is empty, or has a mode without 8-bit RGB or grey levels.
    """
    if 0 in image.size:
        raise ArgumentError(f"the image is empty ({image.width} x {image.height})")
    if image.has_transparency_data or image.mode in ("RGBa", "La"):
        advice = 'flatten it first, for example with Image.alpha_composite, or drop it with image.convert("RGB")'
        raise ArgumentError(f"images with transparency (mode {image.mode}) are not supported yet; {advice}")
    if image.mode not in _OPAQUE_MODES:
        raise ArgumentError(f'images of mode {image.mode} are not supported; use image.convert("RGB") first')
    mode = _OPAQUE_MODES[image.mode]
    try:
        return np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, ValueError, SyntaxError) as error:  # an image that was opened but not yet decoded
        raise ArgumentError(f"the image cannot be decoded: {error}") from None


def indexed_image(
    labels: npt.NDArray[np.uint8],  # [H, W]
    colors: npt.NDArray[np.uint8],  # [K, 3], K <= 256
) -> Image.Image:
    """A Pillow image of mode P."""
    image = Image.fromarray(labels)
    image.putpalette(colors.tobytes())
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


def write_image(image: Image.Image, path: str | Path) -> None:
    """Write an image so that a failure leaves no half file.

    An indexed PNG gets the smallest bit depth that holds its palette; no format renumbers the palette.

    Raises
    ------
    ArgumentError
        The path's ending is unknown.
    ImageFileError
        The file cannot be written.
    """
    image_format = check_format(path, 0)
    with whole_file(path) as file:
        if image_format == "GIF":
            image.save(file, "GIF", optimize=False)
        elif image_format == "TIFF":
            image.save(file, "TIFF", compression="tiff_adobe_deflate")
        else:
            image.save(file, "PNG", compress_level=6)

"""load_photo(): whatever may be given as an image."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from gpuquant.arguments import is_integer
from gpuquant.errors import ArgumentError
from gpuquant.image_reading import MAX_PIXELS, Photo, photo_of, read_photo

ImageLike = str | Path | Image.Image | np.ndarray | Tensor
"""A path, a Pillow image, or uint8 pixels [H, W, 3] in RGB order, [H, W, 4] with alpha, or grey [H, W]."""


def load_photo(image: ImageLike | Photo, max_pixels: int = MAX_PIXELS, *, preview: bool = False) -> Photo | Tensor:
    """The photo, or a tensor as it is: uint8 [H, W, 3], [H, W, 4] or [H, W].

    Raises
    ------
    ArgumentError
        The array or tensor has an unusable shape or dtype.
    ImageFileError
        The file cannot be read.
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, str | Path):
        return read_photo(image, max_pixels=max_pixels, preview=preview)
    if isinstance(image, Image.Image):
        return photo_of(image)
    if not isinstance(image, np.ndarray | Tensor):
        expected = "a path, a Pillow image, or a uint8 array or tensor [H, W, 3], [H, W, 4] or [H, W]"
        raise ArgumentError(f"image must be {expected}, got {type(image).__name__}")
    shape = tuple(image.shape)
    if image.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; move the channels to the end with permute(1, 2, 0)")
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in (3, 4)):
        raise ArgumentError(f"image must be [H, W, 3], [H, W, 4] with alpha, or grey [H, W], got {shape}")
    if 0 in shape:
        raise ArgumentError(f"image is empty, got {shape}")
    if "uint8" not in str(image.dtype):
        advice = "for levels 0..1 use (image * 255).round() and convert to uint8"
        raise ArgumentError(f"image must be uint8, got {image.dtype}; {advice}")
    return image if isinstance(image, Tensor) else Photo(image)


def parse_color(color: str | tuple[int, int, int]) -> tuple[int, int, int]:
    """An opaque color: three levels, or what CSS calls it, such as "white", "#fff" or "#ffffff".

    Raises
    ------
    ArgumentError
        There is no such color.
    """
    try:
        levels = ImageColor.getrgb(color) if isinstance(color, str) else tuple(color)
    except (ValueError, TypeError):
        levels = ()
    if len(levels) != 3 or not all(is_integer(level) and 0 <= level <= 255 for level in levels):
        raise ArgumentError(f'background={color!r} is not a color; use a name such as "white", or "#rrggbb"')
    return int(levels[0]), int(levels[1]), int(levels[2])

"""load_photo(): whatever may be given as an image."""

import numpy as np
from PIL import Image, ImageColor
from torch import Tensor

from gpuquant.arguments import MAX_PIXELS, is_integer
from gpuquant.errors import ArgumentError
from gpuquant.images.array_strips import is_array_file, mapped_array, strips_of_array
from gpuquant.images.arrays import pixels_from
from gpuquant.images.reading import Photo, photo_of, read_photo
from gpuquant.images.room import check_room
from gpuquant.images.sources import ImageSource, Source, as_source, is_source, told

ROWS = 256  # of an array in a file that are taken at a time

ImageLike = ImageSource | Source | Image.Image | np.ndarray | Tensor
"""A path or URL, the bytes of an image file, a file open for reading, a Pillow image, or pixels in RGB order: uint8, or
floats from 0 to 1, [H, W, 3], [H, W, 4] with alpha, or gray [H, W]."""


def load_photo(image: ImageLike, max_pixels: int = MAX_PIXELS, *, preview: bool = False) -> Photo | Tensor:
    """The photo, or a tensor as it is: uint8 [H, W, 3], [H, W, 4] or [H, W].

    Raises
    ------
    ArgumentError
        It is no image, or an array or tensor with a shape or dtype that images do not have.
    ImageFileError
        The file cannot be read, or its pixels do not fit into memory.
    """
    if isinstance(image, Image.Image):
        return photo_of(image)
    if isinstance(image, np.ndarray | Tensor):
        pixels = pixels_from(image)
        return pixels if isinstance(pixels, Tensor) else Photo(pixels)
    if is_source(image):
        source = as_source(image)
        if source.path is None or not is_array_file(source.path):
            return read_photo(source, max_pixels=max_pixels, preview=preview, check=check_room)
        with told(source):
            array = mapped_array(source.path, max_pixels)
            check_room((array.shape[1], array.shape[0]))
            return Photo(np.concatenate(list(strips_of_array(array, ROWS))))
    expected = "a path, the bytes of a file, an open file, a Pillow image, or an array or tensor [H, W, 3]"
    advice = ""
    if isinstance(image, list | tuple) and image and all(map(is_image_like, image)):
        advice = "; give images one at a time, or files to quantize_files"
    elif isinstance(image, list | tuple) or (hasattr(image, "__array__") and not isinstance(image, np.generic)):
        advice = "; pass np.asarray(image)"
    raise ArgumentError(f"image must be {expected}, got {type(image).__name__}{advice}")


def is_image_like(value: object) -> bool:
    """True of what may be an image, by its type."""
    return is_source(value) or isinstance(value, Image.Image | np.ndarray | Tensor)


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

"""Arrays in files of NumPy's format (.npy), mapped into memory: strips of them are all that is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gpuquant.errors import ArgumentError
from gpuquant.images.arrays import check_image_shape, pixels_from
from gpuquant.images.guard import check_size
from gpuquant.images.samples import Pixels

SIGNATURE = b"\x93NUMPY"


def is_array_file(path: Path) -> bool:
    """True of a file that begins as one of NumPy's arrays."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError:  # whoever reads it says why
        return False


def mapped_array(path: Path, max_pixels: int) -> np.ndarray[Any, Any]:  # [H, W, 3], [H, W, 4] or [H, W]
    """The array of a file, of a shape and dtype that images have.

    Raises
    ------
    ArgumentError
        It is none, has more than `max_pixels`, or the file is damaged.
    """
    try:
        image = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:  # shorter than it says, or of Python objects
        raise ArgumentError(" ".join(str(error).split())) from None
    check_image_shape(image, image.shape)
    image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    check_size((image.shape[1], image.shape[0]), max_pixels)
    pixels_from(image[:1])  # says what is wrong with its dtype
    mapped: np.ndarray[Any, Any] = image
    return mapped


def strips_of_array(image: np.ndarray[Any, Any], n_rows: int) -> Iterator[Pixels]:
    """Rows of a mapped array in 8 bits."""
    for top in range(0, len(image), n_rows):
        strip = np.ascontiguousarray(image[top : top + n_rows])
        yield np.asarray(pixels_from(strip[:, :, None] if strip.ndim == 2 else strip))

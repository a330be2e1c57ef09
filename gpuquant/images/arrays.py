"""Arrays and tensors as pixels: their shape and dtype checked, floats from 0 to 1 rounded to 8 bits."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.colors.levels import Numbers, kind_of, not_levels, rounded
from gpuquant.errors import ArgumentError

CHANNELS = (1, 3, 4)  # gray, RGB, and RGB with alpha


def pixels_from(image: Numbers) -> Numbers:  # [H, W, 3], [H, W, 4] or [H, W], uint8 on the same device
    """The pixels of an image in memory.

    Raises
    ------
    ArgumentError
        The shape or dtype is not that of an image; the message says how to make one of it.
    """
    shape = tuple(image.shape)
    check_image_shape(image, shape)
    if isinstance(image, np.ma.MaskedArray):
        raise ArgumentError("image is a masked array; say what is under the mask, such as with image.filled(0)")
    if isinstance(image, Tensor) and (image.layout != torch.strided or image.is_meta):
        advice = "image.to_dense()" if not image.is_meta else "one that has values"
        raise ArgumentError(f"image must be a dense tensor; use {advice}")
    if 0 in shape:
        raise ArgumentError(f"image is empty, got {shape}")
    if image.ndim == 3 and shape[2] == 1:
        image = image[:, :, 0]
    if kind_of(image) == "uint8":
        return image
    if kind_of(image) == "float":
        return rounded(image, "image")
    raise not_levels(image, "image")


def rows_as_image(image: Any) -> Any:
    """Rows of pixels [N, 3] or [N, 4] as an image that is one pixel wide; anything else as it is."""
    is_array = isinstance(image, np.ndarray | Tensor)
    return image[:, None] if is_array and image.ndim == 2 and image.shape[1] in (3, 4) else image


def check_image_shape(image: Numbers, shape: tuple[int, ...]) -> None:
    moved = "image.permute(1, 2, 0)" if isinstance(image, Tensor) else "np.moveaxis(image, 0, -1)"
    if image.ndim == 4 and (shape[3] in CHANNELS or shape[1] in CHANNELS):
        advice = "loop over them, give files to quantize_files, or list(images) to extract_palette"
        raise ArgumentError(f"image must be one image [H, W, 3], got several {shape}; {advice}")
    if image.ndim == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS:
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; move the channels to the end with {moved}")
    if image.ndim == 2 and shape[1] in (3, 4):
        rows = f"rows of pixels have lost their height and width: use image.reshape(H, W, {shape[1]})"
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; {rows}; a gray image so narrow is image[..., None]")
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in CHANNELS):
        raise ArgumentError(f"image must be [H, W, 3], [H, W, 4] with alpha, or gray [H, W], got {shape}")

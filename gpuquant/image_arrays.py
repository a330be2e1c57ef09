"""Arrays and tensors as pixels: their shape and dtype checked, floats from 0 to 1 rounded to 8 bits."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.errors import ArgumentError

Array = npt.NDArray[Any] | Tensor

SAMPLES_AT_ONCE = 1 << 22  # floats that are rounded together: 32 MB in double precision
ROUNDING = 1e-6  # by which a float may leave 0..1: what a few steps in single precision leave over
CHANNELS = (1, 3, 4)


def pixels_from(image: Array) -> Array:  # [H, W, 3], [H, W, 4] or [H, W], uint8 on the same device
    """The pixels of an image in memory.

    Raises
    ------
    ArgumentError
        The shape or dtype is not that of an image; the message says how to make one of it.
    """
    shape = tuple(image.shape)
    _check_shape(image, shape)
    if 0 in shape:
        raise ArgumentError(f"image is empty, got {shape}")
    if image.ndim == 3 and shape[2] == 1:
        image = image[:, :, 0]
    return levels_from(image)


def rows_as_image(image: Any) -> Any:
    """Rows of pixels [N, 3] or [N, 4] as an image that is one pixel wide; anything else as it is."""
    is_array = isinstance(image, np.ndarray | Tensor)
    return image[:, None] if is_array and image.ndim == 2 and image.shape[1] in (3, 4) else image


def _check_shape(image: Array, shape: tuple[int, ...]) -> None:
    moved = "image.permute(1, 2, 0)" if isinstance(image, Tensor) else "np.moveaxis(image, 0, -1)"
    if image.ndim == 4 and (shape[3] in CHANNELS or shape[1] in CHANNELS):
        advice = "loop over them, or give files to quantize_files"
        raise ArgumentError(f"image must be one image [H, W, 3], got several {shape}; {advice}")
    if image.ndim == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS:
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; move the channels to the end with {moved}")
    if image.ndim == 2 and shape[1] in (3, 4):
        rows = f"rows of pixels have lost their height and width: use image.reshape(H, W, {shape[1]})"
        raise ArgumentError(f"image must be [H, W, 3], got {shape}; {rows}; a grey image so narrow is image[..., None]")
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[2] not in CHANNELS):
        raise ArgumentError(f"image must be [H, W, 3], [H, W, 4] with alpha, or grey [H, W], got {shape}")


def levels_from(image: Array) -> Array:  # uint8, of the same shape and on the same device
    """Levels 0..255: as they are, or rounded where they are floats from 0 to 1.

    Raises
    ------
    ArgumentError
        They are neither; the message says how to make levels of them.
    """
    kind = _kind_of(image)
    if kind == "uint8":
        return image
    if kind == "float":
        return _rounded_tensor(image) if isinstance(image, Tensor) else _rounded_array(image)
    advice = _advice_on_bool(image) if kind == "bool" else _advice_on_integers(image) if kind == "integer" else ""
    raise ArgumentError(f"image must be uint8, or floats from 0 to 1, got {_dtype(image)}{advice}")


def _kind_of(image: Array) -> str:
    if isinstance(image, Tensor):
        if image.dtype == torch.uint8:
            return "uint8"
        if image.dtype.is_floating_point:
            return "float"
        if image.dtype == torch.bool:
            return "bool"
        return "other" if image.dtype.is_complex or image.is_quantized else "integer"
    if image.dtype == np.uint8:
        return "uint8"
    return {"f": "float", "b": "bool", "i": "integer", "u": "integer"}.get(image.dtype.kind, "other")


def _dtype(image: Array) -> str:
    return str(image.dtype).removeprefix("torch.")


def _rounded_array(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    levels = np.empty(image.shape, np.uint8)
    rows = max(1, SAMPLES_AT_ONCE // max(1, image[0].size))
    for top in range(0, len(image), rows):
        part = image[top : top + rows].astype(np.float64 if image.dtype.itemsize >= 8 else np.float32)
        if not (part.min() >= -ROUNDING and part.max() <= 1 + ROUNDING):  # nor NaN
            raise _not_in_range(image)
        levels[top : top + rows] = np.rint(part * 255)
    return levels


def _rounded_tensor(image: Tensor) -> Tensor:
    image = image.detach()
    levels = torch.empty(image.shape, dtype=torch.uint8, device=image.device)
    rows = max(1, SAMPLES_AT_ONCE // max(1, image[0].numel()))
    for part, found in zip(image.split(rows), levels.split(rows), strict=True):
        part = part if part.dtype == torch.float64 else part.float()
        low, high = (bound.item() for bound in part.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise _not_in_range(image)
        found.copy_((part * 255).round_())
    return levels


def _not_in_range(image: Array) -> ArgumentError:
    """What floats other than 0..1 may mean, by the lowest and the highest."""
    low, high = _bounds(image)
    to_levels = "clamp(0, 255).round().to(torch.uint8)" if isinstance(image, Tensor) else _ARRAY_LEVELS
    clip = "clamp" if isinstance(image, Tensor) else "clip"
    if not (np.isfinite(low) and np.isfinite(high)):
        nan = "torch.nan_to_num" if isinstance(image, Tensor) else "np.nan_to_num"
        return ArgumentError(f"image must be uint8, or floats from 0 to 1, got NaN or infinity; see {nan}")
    if high > 255:
        advice = "for 16 bits use image / 65535" if low >= 0 and high <= 65535 else "scale it to 0..1"
    elif high > 2:
        advice = f"for levels 0..255 use image.{to_levels}"
    elif low < -0.1:
        advice = f"for -1..1 use (image + 1) / 2, or cut it with image.{clip}(0, 1)"
    else:
        advice = f"cut it with image.{clip}(0, 1)"
    found = f"{_dtype(image)} from {low:.4g} to {high:.4g}"
    return ArgumentError(f"image must be uint8, or floats from 0 to 1, got {found}; {advice}")


_ARRAY_LEVELS = "clip(0, 255).round().astype(np.uint8)"


def _advice_on_integers(image: Array) -> str:
    low, high = _bounds(image)
    as_bytes = "image.to(torch.uint8)" if isinstance(image, Tensor) else "image.astype(np.uint8)"
    if low >= 0 and high <= 255:
        advice = f"for levels 0..255 use {as_bytes}"
    elif low >= 0 and high <= 65535:
        advice = f"for 16 bits use {'image.float()' if isinstance(image, Tensor) else 'image'} / 65535"
    else:
        advice = "scale it to floats from 0 to 1"
    return f" from {low} to {high}; {advice}"


def _advice_on_bool(image: Array) -> str:
    as_floats = "image.float()" if isinstance(image, Tensor) else "image.astype(float)"
    return f"; for black and white use {as_floats}"


def _bounds(image: Array) -> tuple[Any, Any]:
    if isinstance(image, Tensor):
        known = image.to(torch.int64) if not image.dtype.is_floating_point else image.float()
        low, high = known.aminmax()
        return low.item(), high.item()
    return image.min().item(), image.max().item()

"""Levels 0..255 from numbers: floats from 0 to 1 are rounded, and errors say how other numbers become levels."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.errors import ArgumentError

Numbers = npt.NDArray[Any] | Tensor

AT_ONCE = 1 << 22  # floats that are rounded together: 32 MB in double precision
ROUNDING = 1e-6  # by which a float may leave 0..1: what a few steps in single precision leave over
OVERSHOOT = 0.1  # by which filters that sharpen or enlarge leave 0..1, about
WHITES = {10: 1023, 12: 4095, 16: 65535}  # by the number of bits


def kind_of(values: Numbers) -> str:
    """ "uint8", "float", "integer", "bool" or "other"."""
    if isinstance(values, Tensor):
        if values.dtype in (torch.uint8, torch.bool):
            return str(values.dtype).removeprefix("torch.")
        if values.dtype.is_floating_point:
            return "float"
        return "other" if values.dtype.is_complex or values.is_quantized else "integer"
    if values.dtype == np.uint8:
        return "uint8"
    return {"f": "float", "b": "bool", "i": "integer", "u": "integer"}.get(values.dtype.kind, "other")


def rounded(values: Numbers, name: str) -> Numbers:  # uint8, of the same shape and on the same device
    """Floats from 0 to 1 as levels of 8 bits, halves to the even one.

    Raises
    ------
    ArgumentError
        Some are beyond 0..1, or NaN.
    """
    if isinstance(values, Tensor):
        return _rounded_tensor(values.detach(), name)
    levels = np.empty(values.shape, np.uint8)
    for part, found in zip(_parts(values), _parts(levels), strict=True):
        wide = part.astype(np.float64)
        if not (wide.min() >= -ROUNDING and wide.max() <= 1 + ROUNDING):  # nor NaN
            raise _beyond(values, name)
        found[...] = np.rint(wide * 255)
    return levels


def _rounded_tensor(values: Tensor, name: str) -> Tensor:
    levels = torch.empty(values.shape, dtype=torch.uint8, device=values.device)
    for part, found in zip(_parts(values), _parts(levels), strict=True):
        wide = part.double()
        low, high = (bound.item() for bound in wide.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise _beyond(values, name)
        found.copy_((wide * 255).round_())
    return levels


def _parts(values: Any) -> list[Any]:
    """Rows that are worked on together."""
    n_rows = max(1, AT_ONCE // max(1, math.prod(values.shape[1:])))
    return [values[top : top + n_rows] for top in range(0, len(values), n_rows)]


def not_levels(values: Numbers, name: str) -> ArgumentError:
    """An error for numbers that are neither of 8 bits nor floats, with the advice that is right for them."""
    found, advice = dtype_of(values), ""
    low, high = (False, True) if kind_of(values) in ("bool", "other") else bounds_of(values)
    if kind_of(values) == "bool" or (kind_of(values) == "integer" and low >= 0 and high <= 1):
        as_floats = "float()" if isinstance(values, Tensor) else "astype(float)"
        advice = f"; for black and white use {name}.{as_floats}"
    elif kind_of(values) == "integer":
        found += f" from {low} to {high}"
        floats = f"{name}.float()" if isinstance(values, Tensor) else name
        if low < 0:
            advice = f"; scale it to floats from 0 to 1, such as ({floats} - {low}) / {high - low}"
        elif high <= 255:
            as_levels = "to(torch.uint8)" if isinstance(values, Tensor) else "astype(np.uint8)"
            advice = f"; for levels 0..255 use {name}.{as_levels}"
        else:
            advice = f"; {_by_white(floats, high)}"
    return ArgumentError(f"{name} must be uint8, or floats from 0 to 1, got {found}{advice}")


def _beyond(values: Numbers, name: str) -> ArgumentError:
    """An error for floats beyond 0..1: the lowest and the highest tell what they may mean."""
    low, high = bounds_of(values)
    expected = f"{name} must be uint8, or floats from 0 to 1"
    clip = f"{name}.{'clamp' if isinstance(values, Tensor) else 'clip'}"
    as_levels = "to(torch.uint8)" if isinstance(values, Tensor) else "astype(np.uint8)"
    if not (np.isfinite(low) and np.isfinite(high)):
        library = "torch" if isinstance(values, Tensor) else "np"
        advice = f"replace them, such as with {library}.nan_to_num({name}, posinf=1, neginf=0)"
        return ArgumentError(f"{expected}, got NaN or infinity; {advice}")
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        advice = f"cut it with {clip}(0, 1)"
    elif low >= -1 - OVERSHOOT and high <= 1 + OVERSHOOT:
        advice = f"for -1..1 use ({name} + 1) / 2, or cut it with {clip}(0, 1)"
    elif low < -OVERSHOOT and low > -16 and high < 16:
        advice = f"if it was normalized, undo that with {name} * std + mean"
    elif low < -16 or high > WHITES[16]:
        advice = f"scale it to 0..1, such as ({name} - {low:.6g}) / {high - low:.6g}"
    elif high <= 16:
        advice = f"scale it to 0..1, such as {name} / {high:.6g}, or cut it with {clip}(0, 1)"
    elif high <= 255 + ROUNDING:
        percent = f", for 0..100 use {name} / 100" if high <= 100 else ""
        advice = f"for levels 0..255 use {clip}(0, 255).round().{as_levels}{percent}"
    else:
        advice = _by_white(name, high)
    return ArgumentError(f"{expected}, got {dtype_of(values)} from {low:.9g} to {high:.9g}; {advice}")


def _by_white(name: str, high: float) -> str:
    if high > WHITES[16]:
        return f"scale it to floats from 0 to 1, such as {name} / {high}"
    return ", ".join(f"for {bits} bits use {name} / {white}" for bits, white in WHITES.items() if high <= white)


def bounds_of(values: Numbers) -> tuple[Any, Any]:
    """The lowest and the highest of numbers of any dtype."""
    if isinstance(values, Tensor):
        wide = values.double() if values.dtype.is_floating_point else values.to(torch.int64)
        low, high = wide.aminmax()
        return low.item(), high.item()
    return values.min().item(), values.max().item()


def dtype_of(values: Numbers) -> str:
    """The name of a dtype, which NumPy and torch agree on."""
    return str(values.dtype).removeprefix("torch.")

"""Conversions between sRGB and Oklab, the space in which equal distances look about equal.

Source: B. Ottosson 2020, "A perceptual color space for image processing"; the transfer function is that of
IEC 61966-2-1.
"""

import torch
from torch import Tensor

_LMS_FROM_LINEAR = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_OKLAB_FROM_ROOTS = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)


def oklab_from_srgb(
    levels: Tensor,  # [..., 3], 0..255
) -> Tensor:  # [..., 3] float64: lightness 0..1, and the two axes of color, about -0.4..0.4
    """sRGB levels in Oklab."""
    levels = levels.double() / 255
    linear = torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    cones = linear @ _matrix(_LMS_FROM_LINEAR, levels).T
    roots = cones.sign() * cones.abs() ** (1 / 3)
    return roots @ _matrix(_OKLAB_FROM_ROOTS, levels).T


def srgb_from_oklab(
    oklab: Tensor,  # [..., 3]
) -> Tensor:  # [..., 3] float64, 0..255, not rounded
    """Oklab colors as sRGB levels; those outside of sRGB are clipped, level by level."""
    oklab = oklab.double()
    roots = oklab @ _matrix(_OKLAB_FROM_ROOTS, oklab).inverse().T
    linear = (roots**3 @ _matrix(_LMS_FROM_LINEAR, oklab).inverse().T).clamp(0, 1)
    levels = torch.where(linear <= 0.04045 / 12.92, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * levels


def _matrix(rows: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64, device=like.device)

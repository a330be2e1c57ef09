"""Spaces in which distances are taken: sRGB, and Oklab, where equal ones look about equal.

Source of Oklab: B. Ottosson 2020, "A perceptual color space for image processing"; the transfer function is that of
IEC 61966-2-1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

import torch
from torch import Tensor

from gpuquant.colors.alpha import without_weight
from gpuquant.colors.registry import SPACES

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
    if levels.dtype == torch.uint8:
        linear = _linear(torch.arange(256, device=levels.device))[levels.long()]
    else:
        linear = _linear(levels)
    cones = linear @ _matrix(_LMS_FROM_LINEAR, levels).T
    roots = cones.sign() * cones.abs() ** (1 / 3)
    return roots @ _matrix(_OKLAB_FROM_ROOTS, levels).T


def _linear(levels: Tensor) -> Tensor:
    levels = levels.double() / 255
    return torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


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


# a and b count twice, as B. Ottosson found to fit perceived differences (csswg-drafts issue 6642, 2021; the distance is
# called Delta E OK2): on Kodak photos CIEDE2000 is then lower than in sRGB, otherwise it is not (measured). With 240
# levels of lightness all three lie within 0..255.
OKLAB_SCALES = (240.0, 480.0, 480.0)
ALPHA_SCALE = OKLAB_SCALES[0] / 255  # of its levels: between clear and opaque is as much as from black to white
OKLAB_ORIGIN = (0.0, 120.0, 152.0)  # added to them: of the sRGB colors a is -0.234..0.276, and b -0.312..0.199


@dataclass(frozen=True)
class WorkingSpace:
    """The space in which distances are taken: its columns lie within 0 and 255."""

    enter: Callable[[Tensor], Tensor]  # [M, 3] or [M, 4] levels -> [M, D] float64, or 8-bit levels as they are
    leave: Callable[[Tensor], Tensor]  # [K, D] -> the nearest 8-bit colors [K, 3] or [K, 4]


def _in_srgb(
    colors: Tensor,  # [M, 3] or [M, 4], levels
) -> Tensor:  # [M, 3] of the same dtype: 8-bit levels are worked on exactly; or [M, 4] float64
    """Levels as they are; with alpha they are weighted by it, all in units of 256 / 255, which leaves no fractions."""
    if colors.shape[1] == 3:
        return colors
    points = colors.double()
    points[:, :3] *= points[:, 3:] / 256
    points[:, 3] *= 255 / 256
    return points


def _from_srgb(
    points: Tensor,  # [K, 3] or [K, 4] float64
) -> Tensor:  # [K, 3] or [K, 4] uint8
    return (
        points.round().clamp(0, 255).to(torch.uint8) if points.shape[1] == 3 else without_weight(points * (256 / 255))
    )


def _in_oklab(
    colors: Tensor,  # [M, 3] or [M, 4], levels
) -> Tensor:  # [M, 3] or [M, 4] float64
    """Oklab with a and b doubled; with alpha the three columns are weighted by it, and it is the fourth."""
    points = oklab_from_srgb(colors[:, :3]) * colors.new_tensor(OKLAB_SCALES, dtype=torch.float64)
    origin = points.new_tensor(OKLAB_ORIGIN)
    if colors.shape[1] == 3:
        return points + origin
    alpha = colors[:, 3:].double()
    return torch.cat([points * alpha / 255 + origin, alpha * ALPHA_SCALE], dim=1)


def _from_oklab(
    points: Tensor,  # [K, 3] or [K, 4] float64
) -> Tensor:  # [K, 3] or [K, 4] uint8
    alpha = (points[:, 3:] / ALPHA_SCALE).round().clamp(0, 255)
    oklab = (points[:, :3] - points.new_tensor(OKLAB_ORIGIN)) / points.new_tensor(OKLAB_SCALES)
    if points.shape[1] == 3:
        return srgb_from_oklab(oklab).round().to(torch.uint8)
    levels = srgb_from_oklab(oklab * 255 * ALPHA_SCALE / points[:, 3:].clamp(min=1e-9)).round()
    return torch.cat([levels * (alpha > 0), alpha], dim=1).to(torch.uint8)


SRGB = WorkingSpace(_in_srgb, _from_srgb)
OKLAB = WorkingSpace(_in_oklab, _from_oklab)


def working_space(name: str) -> WorkingSpace:
    """The space of that name in the registry."""
    space: WorkingSpace = resolve_name(SPACES[name].working_space)
    return space

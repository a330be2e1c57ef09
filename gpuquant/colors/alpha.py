"""Colors with alpha: weighted by it, laid onto a background, or with it left out."""

import torch
from torch import Tensor

OPAQUE = 255  # the highest level of alpha


def weighted_by_alpha(
    colors: Tensor,  # [M, 4] uint8
) -> Tensor:  # [M, 4] float64
    """R, G and B times alpha / 255, and alpha: distances are then those that are seen, and clear colors are one."""
    points = colors.double()
    points[:, :3] *= points[:, 3:] / 255
    return points


def without_weight(
    points: Tensor,  # [K, 4] float64
) -> Tensor:  # [K, 4] uint8
    """The colors nearest to points weighted by alpha."""
    alpha = points[:, 3:].round().clamp(0, 255)
    levels = points[:, :3] * 255 / points[:, 3:].clamp(min=1e-9)
    return torch.cat([levels.round().clamp(0, 255) * (alpha > 0), alpha], dim=1).to(torch.uint8)


def laid_onto(
    colors: Tensor,  # [M, 4] uint8
    background: tuple[int, int, int],
) -> Tensor:  # [M, 3] uint8
    """Colors as they look in front of a background."""
    levels, alpha = colors[:, :3].to(torch.int32), colors[:, 3:].to(torch.int32)
    behind = torch.tensor(background, dtype=torch.int32, device=colors.device)
    return ((2 * (levels * alpha + behind * (255 - alpha)) + 255) // 510).to(torch.uint8)


def with_alpha(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
) -> Tensor:  # [M, 4] uint8
    """Opaque colors with their alpha; others as they are."""
    return colors if colors.shape[1] == 4 else torch.nn.functional.pad(colors, (0, 1), value=OPAQUE)

"""For every colour two palette entries that mix to about it, and the share of each."""

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.ops.torch_ops import worker_threads

N_NEIGHBORS = 24  # of the nearest entry, among which the other one is looked for
GRAIN = 0.1  # what is paid for entries that are far apart; measured, see `pair_colors`
AT_ONCE = {"cpu": (1 << 15) - 1, "cuda": 1 << 20}  # colours: on the CPU torch then stays in the thread that calls it
LUMA = (299, 587, 114)  # thousandths, ITU-R BT.601


def pair_colors(
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
    labels: Tensor,  # [M] int32: the nearest entry of each colour
    strength: float,  # above 0 to 1
    n_levels: int,  # of the mask: thresholds are from 0 to that
) -> tuple[Tensor, Tensor, Tensor]:  # [M] int32: the darker entry; [M] int32: the lighter one; [M] int16: its share
    """Choose the pair of the nearest entry a and another one b, and a share t of b, for each colour.

    t is where the colour's projection onto the segment from a to b lies; an entry itself thus has t = 0. Of b it is
    asked that the mix comes close to the colour, and that the two do not stand out from each other: it has the lowest

        |mix - colour|^2 + GRAIN t (1 - t) |b - a|^2,

    the error of the mean plus a part of the variance around it. The lighter entry has the share, so that a pattern
    goes on where the nearest entry changes. Half the strength dithers half of the way between two, around its middle.

    Source: pairs with a penalty for contrast are from J. Yliluoma, "Arbitrary-palette positional dithering algorithm"
    (2011). On china.jpg and flower.jpg at K = 8, 16 and 64 the error after a blur of 1.5 pixels was 0.77 to 0.93 times
    that of noise of one amplitude for all colours, the best of four amplitudes. Without GRAIN that error is up to
    29 % higher at K = 64, the error of single pixels up to 2.8 times as high, and dark dots stand out from light areas.
    """
    near = _neighbors(palette)
    ways = palette[near].float() - palette[:, None].float()  # [K, L, 3]
    columns = (
        torch.cat([ways, ways.square().sum(dim=2, keepdim=True).clamp_(min=1)], dim=2).permute(1, 2, 0).contiguous()
    )
    lightness = (palette.int() * torch.tensor(LUMA, dtype=torch.int32, device=palette.device)).sum(dim=1)
    order = (lightness * len(palette) + torch.arange(len(palette), device=palette.device)).argsort().argsort()
    low, high = torch.empty_like(labels), torch.empty_like(labels)
    limits = torch.empty_like(labels, dtype=torch.int16)
    levels = palette.t().float().contiguous()  # [3, K]
    step = AT_ONCE[colors.device.type]

    def choose(start: int) -> None:
        part = slice(start, start + step)
        nearest = labels[part].long()
        offsets = [colors[part, axis] - levels[axis].index_select(0, nearest) for axis in range(3)]
        place, share = _best(offsets, columns, nearest)
        partner = near.view(-1).index_select(0, nearest * near.shape[1] + place)
        share = torch.where(share > 0, 0.5 + (share - 0.5) / strength, 0).clamp_(0, 1)
        swapped = order.index_select(0, nearest) > order.index_select(0, partner)
        low[part], high[part] = torch.where(swapped, partner, nearest), torch.where(swapped, nearest, partner)
        limits[part] = (torch.where(swapped, 1 - share, share) * n_levels).round_()

    ops.share_out(range(0, len(colors), step), choose, worker_threads() if colors.is_cpu else 1)
    return low, high, limits


def _best(
    offsets: list[Tensor],  # red, green, blue: [C] float32, of the colours from their nearest entries
    columns: Tensor,  # [L, 4, K] float32: ways from each entry to its neighbours; squared lengths, at least 1
    nearest: Tensor,  # [C] int64
) -> tuple[Tensor, Tensor]:  # [C] int64: which neighbour; [C] float32: its share
    red, green, blue = offsets
    place, share = torch.zeros_like(nearest), torch.zeros_like(red)
    lowest = torch.full_like(red, torch.inf)  # less what all have in common
    for neighbor, column in enumerate(columns):
        to_red, to_green, to_blue, length = (part.index_select(0, nearest) for part in column)
        along = to_red.mul_(red).addcmul_(to_green, green).addcmul_(to_blue, blue)  # integers below 2^24: exact
        part = (along / length).clamp_(0, 1)
        cost = (part * (1 - GRAIN)).add_(GRAIN).mul_(length).sub_(along, alpha=2).mul_(part)
        better = cost < lowest
        torch.minimum(lowest, cost, out=lowest)
        place.masked_fill_(better, neighbor)
        torch.where(better, part, share, out=share)
    return place, share


def _neighbors(
    palette: Tensor,  # [K, 3] uint8
) -> Tensor:  # [K, L] int64: the nearest other entries, without those that are there twice; itself if there is none
    from scipy.spatial import KDTree  # nothing else needs it, and it takes a tenth of a second to import

    rows, first = np.unique(palette.cpu().numpy(), axis=0, return_index=True)
    n_near = min(N_NEIGHBORS, len(rows) - 1)
    if n_near == 0:
        return torch.arange(len(palette), device=palette.device)[:, None]
    _, near = KDTree(rows.astype(np.float64)).query(palette.cpu().numpy(), k=range(2, n_near + 2))  # 1 is itself
    return torch.from_numpy(first[near].astype(np.int64)).to(palette.device)

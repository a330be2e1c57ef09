"""Exact, pruned Lloyd iterations on distinct 8-bit colours with counts, in plain torch on any device.

Two properties of the data carry everything here.

*Exactness.* Levels are integers and centers are kept on a grid of 2^-10 levels, so every score, distance and sum is
an integer multiple of a power of two that fits the 53 bits of a float64: no operation rounds. Results therefore do
not depend on the order of summation, the shape of a matrix product, the number of threads or the device. It also
leaves room to write the index of the center into the low bits of its score, so one minimum gives the nearest
center and its index, ties going to the lowest index.

*Locality.* Colours in Z-order fill small boxes, block by block. A center k cannot be nearest in a box if another
center p is nearer everywhere in it, and as |x - k|^2 - |x - p|^2 is linear in x, that is one comparison per box
(Pelleg and Moore 1999, "Accelerating exact k-means algorithms with geometric reasoning"). Few centers are left. The
lists allow every center some slack, and stay valid until one has moved by more than that.
"""

import math

import numpy as np
import torch
from torch import Tensor

from gpuquant.ops.color_blocks import BLOCK, ORIGIN, ColorBlocks

CENTER_BITS = 10  # centers are multiples of 2^-10 levels
INDEX_BITS = 12
MAX_CLUSTERS = 1 << INDEX_BITS
SCORES_AT_ONCE = 1 << 19
ALL_PAIRS = 1 << 13  # so few pairs of block and center are all scored: choosing among them would cost more
EVERYWHERE = 1e4  # a slack that keeps every center in every list

_GRID = float(1 << CENTER_BITS)
_SCALE = float(1 << (2 * CENTER_BITS + INDEX_BITS))
_INDEX_MASK = MAX_CLUSTERS - 1
_LIST_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048)


class ColorLloyd:
    """Lloyd iterations over one set of blocks: keeps the labels, the sums and the candidate lists between steps."""

    def __init__(self, blocks: ColorBlocks, n_clusters: int) -> None:
        self.blocks = blocks
        self.n_clusters = n_clusters
        device = blocks.weights.device
        self.labels = torch.full((blocks.n_blocks, BLOCK), -1, dtype=torch.int16, device=device)
        self._totals = torch.zeros(4, n_clusters, dtype=torch.float64, device=device)
        self._lists: _CandidateLists | None = None
        self._centers: Tensor | None = None
        self._scratch = torch.empty(3, max(SCORES_AT_ONCE, n_clusters * BLOCK), dtype=torch.float64, device=device)

    def step(
        self,
        centers: Tensor,  # [K, 3] float64, on the grid
    ) -> tuple[Tensor, Tensor, int]:  # sums [K, 3] float64, weights [K] float64, how many labels changed
        """Label every colour with its nearest center and sum up the clusters."""
        shifted = centers - ORIGIN
        if self._lists is None or not self._lists.hold_for(shifted):
            slack = self._slack(shifted)
            self._lists = _CandidateLists(self.blocks, shifted, slack, self._scratch)
        self._centers = shifted
        labels = self._lists.nearest(shifted)
        changed = _positions(labels != self.labels)
        self._add(changed, labels, sign=1)
        if len(changed) and int(self.labels[0, 0]) >= 0:
            self._add(changed, self.labels, sign=-1)
        self.labels = labels
        weights = self._totals[3].clone()
        return self._totals[:3].t() + weights[:, None] * ORIGIN, weights, len(changed)

    def _slack(self, centers: Tensor) -> Tensor:  # [K] float64, in levels
        """How far the centers may move before new lists: about as far as in four steps like the last one."""
        if self.blocks.n_blocks * self.n_clusters <= ALL_PAIRS:
            return torch.full_like(centers[:, 0], EVERYWHERE)
        if self._centers is None:
            return torch.full_like(centers[:, 0], 2.0)
        return 4 * _distances(centers, self._centers) + 0.4

    def snap(self, centers: Tensor) -> Tensor:
        """Round centers (in levels, float64 [K, 3]) to the grid on which every operation is exact."""
        return ((centers - ORIGIN) * _GRID).round() / _GRID + ORIGIN

    @property
    def variance(self) -> float:
        """The variance of the pixels' levels, averaged over the three channels."""
        return self.blocks.variance

    def labels_of_points(self) -> Tensor:  # [M] int32, in the order in which the colors were given
        return self.blocks.caller_order(self.labels).to(torch.int32)

    def inertia(self, centers: Tensor) -> float:
        """Sum of weight times squared distance to the labelled center."""
        shifted = centers - ORIGIN
        weights, sums = self._totals[3], self._totals[:3].t()
        nearby = shifted.round()  # integers, for which the large part of the sum is exact
        exact = self.blocks.square_sum - (nearby * (2 * sums - weights[:, None] * nearby)).sum()
        step = shifted - nearby
        rest = step * (weights[:, None] * (step + 2 * nearby) - 2 * sums)
        return max(0.0, math.fsum([float(exact), *rest.flatten().tolist()]))

    def farthest(
        self,
        n_points: int,
        centers: Tensor,  # [K, 3] float64, those of the last step
    ) -> tuple[Tensor, Tensor, Tensor]:  # points [n, 3] float64, weights [n] float64, labels [n] int64
        """The colours of positive weight that are farthest from their center, farthest first."""
        distances = self._squared_distances(centers - ORIGIN)
        distances.masked_fill_(self.blocks.weights == 0, 0)
        index = distances.view(-1).argsort(descending=True, stable=True)[:n_points]
        index = index[distances.view(-1)[index] > 0]
        points = self.blocks.colors_at(index).double() + ORIGIN
        return points, self.blocks.weights.view(-1)[index], self.labels.view(-1)[index].long()

    def _squared_distances(self, shifted: Tensor) -> Tensor:  # [n_blocks, BLOCK] float64
        apart = torch.zeros(self.labels.shape, dtype=torch.float64, device=shifted.device)
        index = self.labels.to(torch.int64)
        for axis in range(3):
            apart += (self.blocks.points[:, axis] - shifted[:, axis][index]).square_()
        return apart

    def _add(self, changed: Tensor, labels: Tensor, sign: int) -> None:
        blocks = self.blocks
        index = labels.view(-1)[changed].to(torch.int32)
        weights = blocks.weights.view(-1)[changed]
        self._totals[3].index_add_(0, index, weights, alpha=sign)
        position = changed + 2 * (changed & -BLOCK)  # of the red level: a block holds 3 BLOCK numbers
        for axis in range(3):
            levels = blocks.points.view(-1)[position + axis * BLOCK]
            self._totals[axis].index_add_(0, index, levels * weights, alpha=sign)


class _CandidateLists:
    """For every block, the centers that may be nearest to one of its colours while no center moves beyond its slack."""

    def __init__(
        self,
        blocks: ColorBlocks,
        centers: Tensor,  # [K, 3] float64, shifted
        slack: Tensor,  # [K] float64: how far each center may move, in levels
        scratch: Tensor,  # [3, SCORES_AT_ONCE] float64, kept between calls: fresh pages cost more than the work
    ) -> None:
        self._centers, self._slack = centers, slack
        self._n_blocks = blocks.n_blocks
        self._scratch = scratch[0]
        lengths, candidates = _survivors(blocks.boxes, centers, slack, scratch)
        starts = lengths.cumsum(0) - lengths
        order = lengths.argsort(stable=True)
        longest = int(lengths.max())
        bounds = [length for length in _LIST_LENGTHS if length < longest] + [longest]
        ends = torch.searchsorted(lengths[order], torch.tensor(bounds, device=order.device), right=True).tolist()
        self._tables: list[tuple[Tensor, Tensor, Tensor]] = []  # blocks [G], points [G, 3, BLOCK], candidates [G, C]
        begin = 0
        for length, end in zip(bounds, ends, strict=True):
            position = torch.arange(length, device=order.device)[None]
            for members in order[begin:end].split(max(1, SCORES_AT_ONCE // (length * BLOCK))):
                if len(members):
                    padded = starts[members][:, None] + position.minimum(lengths[members][:, None] - 1)
                    points = blocks.points[members[: len(members) if length > 1 else 0]].to(torch.float64)
                    self._tables.append((members, points, candidates[padded]))
            begin = end

    def hold_for(self, centers: Tensor) -> bool:
        """Whether no center is farther than its slack from where it was when the lists were made."""
        return bool((_distances(centers, self._centers) <= self._slack).all())

    def nearest(
        self,
        centers: Tensor,  # [K, 3] float64, shifted
    ) -> Tensor:  # [n_blocks, BLOCK] int16
        """The nearest center of every colour."""
        labels = torch.empty((self._n_blocks, BLOCK), dtype=torch.int16, device=centers.device)
        factors, offsets = _score_terms(centers)
        for members, points, candidates in self._tables:
            if candidates.shape[1] == 1:
                labels[members] = candidates.to(torch.int16)
            else:
                scores = self._scratch[: candidates.numel() * BLOCK].view(*candidates.shape, BLOCK)
                torch.baddbmm(offsets[candidates][:, :, None], factors[candidates], points, out=scores)
                labels[members] = _index_of(scores.amin(dim=1)).to(torch.int16)
        return labels


def _survivors(
    boxes: Tensor,  # [n, 4] float64: middle and radius of every block
    centers: Tensor,  # [K, 3] float64, shifted
    slack: Tensor,  # [K] float64
    scratch: Tensor,  # [3, SCORES_AT_ONCE] float64
) -> tuple[Tensor, Tensor]:  # lengths [n] int64; indices of centers, block after block and ascending in each
    """Which centers may win in each block, even after every center has moved by its slack.

    With m the middle of a block, r its radius and p the center nearest to m, center k loses to p all over the block if
    |m - k|^2 - |m - p|^2 > 2 r |k - p|. Moves of s_k and s_p take at most (s_k + s_p) (|x - k| + |x - p|) from the left
    side, and |x - k| + |x - p| <= 2 (|m - p| + r) + |k - p|.
    """
    n_clusters = len(centers)
    factors, offsets = _score_terms(centers)
    squares = centers.square().sum(dim=1)
    lengths: list[Tensor] = []
    candidates: list[Tensor] = []
    for chunk in boxes.split(max(1, SCORES_AT_ONCE // n_clusters)):
        middle, radii = chunk[:, :3], chunk[:, 3:]
        scores, limit, factor = scratch[:, : len(chunk) * n_clusters].view(3, len(chunk), n_clusters)
        torch.addmm(offsets, middle, factors.t(), out=scores)
        lowest = scores.amin(dim=1, keepdim=True)
        pivots = _index_of(lowest)[:, 0]
        pivot_points, pivot_slack = centers[pivots], slack[pivots][:, None]
        reach = 2 * ((middle - pivot_points).square().sum(dim=1, keepdim=True).sqrt() + radii)
        torch.addmm(squares, pivot_points, centers.t(), alpha=-2, out=limit)
        limit.add_(squares[pivots][:, None]).clamp_(min=0).sqrt_()  # |k - p|
        limit.mul_(torch.add(slack, pivot_slack + 2 * radii, out=factor))
        limit.add_(torch.mul(slack, reach, out=factor)).add_(pivot_slack * reach + 1e-6).mul_(_SCALE)
        kept = scores.sub_(lowest) <= limit
        lengths.append(kept.sum(dim=1))
        candidates.append(_positions(kept) % n_clusters)
    return torch.cat(lengths), torch.cat(candidates)


def _score_terms(centers: Tensor) -> tuple[Tensor, Tensor]:
    """The score |c|^2 - 2 x.c of a center as factors [K, 3] of x and offsets [K], with the center's index below."""
    index = torch.arange(len(centers), dtype=torch.float64, device=centers.device)
    return centers * (-2 * _SCALE), centers.square().sum(dim=1) * _SCALE + index


def _index_of(scores: Tensor) -> Tensor:
    return scores.to(torch.int64).bitwise_and_(_INDEX_MASK)


def _positions(mask: Tensor) -> Tensor:  # int64, where the flattened mask is true
    if mask.is_cpu:  # NumPy's search is ten times faster on the sparse masks of late iterations
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.view(-1).nonzero().view(-1)


def _distances(points: Tensor, others: Tensor) -> Tensor:  # [K, 3] each -> [K]
    return (points - others).square().sum(dim=1).sqrt()

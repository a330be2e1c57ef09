"""For every block of neighbouring colours, the centers that can be nearest in it.

A center k cannot be nearest in a box if another center p is nearer everywhere in it, and as |x - k|^2 - |x - p|^2 is
linear in x, that is one comparison per box (Pelleg and Moore 1999, "Accelerating exact k-means algorithms with
geometric reasoning"). Few centers are left.

A score |c|^2 - 2 x.c carries the index of its center in its low bits, so one minimum gives both, and the lowest
index wins among equal scores. All of it fits the 53 bits of a float64: nothing rounds.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from gpuquant.ops.color_blocks import BLOCK, ColorBlocks

CENTER_BITS = 10  # centers are multiples of 2^-10 levels
INDEX_BITS = 12
MAX_CLUSTERS = 1 << INDEX_BITS
KEPT_NUMBERS = 1 << 23  # tables that hold more are made anew for every use: memory stays bounded

_SCALE = float(1 << (2 * CENTER_BITS + INDEX_BITS))
_INDEX_MASK = MAX_CLUSTERS - 1
_LIST_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048)

Table = tuple[Tensor, Tensor, Tensor]  # places of blocks [G], their points [G, 3, BLOCK], candidates [G, C]


class CandidateLists:
    """The lists of several runs, valid while no center moves beyond its slack."""

    def __init__(
        self,
        blocks: ColorBlocks,
        problems: list[int],  # [A]: the problem that each run works on
        centers: Tensor,  # [A, K, 3] float64, shifted
        slack: Tensor,  # [A, K] float64: how far each center may move, in levels
        scratch: Tensor,  # [3, at least K x BLOCK] float64, kept between calls: fresh pages cost more than the work
    ) -> None:
        self._blocks, self._problems = blocks, problems
        self._centers, self._slack = centers, slack
        self._scratch = scratch
        self._tables: list[Table] | None = None
        self.kept = True  # whether the tables are kept between uses

    def hold_for(self, centers: Tensor) -> bool:
        """Whether no center is farther than its slack from where it was when the lists were made."""
        return self.kept and bool(((centers - self._centers).square().sum(dim=2) <= self._slack.square()).all())

    def nearest(
        self,
        centers: Tensor,  # [A, K, 3] float64, shifted
    ) -> Tensor:  # [A, n_blocks, BLOCK] int16
        """The nearest center of every colour."""
        n_runs, n_clusters, _ = centers.shape
        labels = torch.empty(n_runs, self._blocks.n_blocks, BLOCK, dtype=torch.int16, device=centers.device)
        factors, offsets = _score_terms(centers)
        factors, offsets = factors.view(-1, 3), offsets.view(-1)
        for members, points, candidates in self._kept_tables():
            if candidates.shape[1] == 1:
                found = candidates % n_clusters
            else:
                scores = self._scratch[0, : candidates.numel() * BLOCK].view(*candidates.shape, BLOCK)
                torch.baddbmm(offsets[candidates][:, :, None], factors[candidates], points, out=scores)
                found = _index_of(scores.amin(dim=1))
            labels.view(-1, BLOCK)[members] = found.to(torch.int16)
        return labels

    def _kept_tables(self) -> Iterator[Table]:
        """The tables, made when first asked for and kept if they are small enough."""
        if self._tables is None:
            parts = self._parts()
            self._tables = next(parts)
            yield from self._tables
            for tables in parts:
                self._tables = None
                yield from tables
            self.kept = self._tables is not None
        else:
            yield from self._tables

    def _parts(self) -> Iterator[list[Table]]:
        """Tables for as many blocks at a time as may be kept."""
        n_blocks, n_clusters = self._blocks.n_blocks, self._slack.shape[1]
        step = max(1, self._scratch.shape[1] // n_clusters)
        sizes: list[Tensor] = []
        found: list[Tensor] = []
        begin = end = numbers = 0
        for place, problem in enumerate(self._problems):
            for boxes in self._blocks.boxes[problem].split(step):
                lengths, candidates = _survivors(boxes, self._centers[place], self._slack[place], self._scratch)
                sizes.append(lengths)
                found.append(candidates + place * n_clusters)
                numbers += len(candidates) + 3 * BLOCK * len(lengths)
                end += len(lengths)
                if numbers > KEPT_NUMBERS and end < len(self._problems) * n_blocks:
                    yield self._sorted_by_length(begin, torch.cat(sizes), torch.cat(found))
                    sizes, found, begin, numbers = [], [], end, 0
        yield self._sorted_by_length(begin, torch.cat(sizes), torch.cat(found))

    def _sorted_by_length(
        self,
        begin: int,  # place of the first block
        lengths: Tensor,  # [G]
        candidates: Tensor,  # [sum of lengths]
    ) -> list[Table]:
        """One table for all blocks with about equally many candidates; short lists repeat their last one."""
        n_blocks = self._blocks.n_blocks
        sources = self._blocks.points.view(-1, 3, BLOCK)
        first_block = torch.tensor(self._problems, device=lengths.device) * n_blocks
        starts = lengths.cumsum(0) - lengths
        order = lengths.argsort(stable=True)
        longest = int(lengths.max())
        bounds = [length for length in _LIST_LENGTHS if length < longest] + [longest]
        ends = torch.searchsorted(lengths[order], torch.tensor(bounds, device=order.device), right=True).tolist()
        tables: list[Table] = []
        done = 0
        for length, end in zip(bounds, ends, strict=True):
            position = torch.arange(length, device=order.device)[None]
            for members in order[done:end].split(max(1, self._scratch.shape[1] // (length * BLOCK))):
                if len(members):
                    padded = starts[members][:, None] + position.minimum(lengths[members][:, None] - 1)
                    places = members + begin
                    scored = places[: len(places) if length > 1 else 0]
                    points = sources[first_block[scored // n_blocks] + scored % n_blocks].to(torch.float64)
                    tables.append((places, points, candidates[padded]))
            done = end
        return tables


def _survivors(
    boxes: Tensor,  # [n, 4] float64: middle and radius of every block, n x K numbers fit a row of scratch
    centers: Tensor,  # [K, 3] float64, shifted
    slack: Tensor,  # [K] float64
    scratch: Tensor,  # [3, at least n x K] float64
) -> tuple[Tensor, Tensor]:  # lengths [n] int64; indices of centers, block after block and ascending in each
    """Which centers may win in each block, even after every center has moved by its slack.

    With m the middle of a block, r its radius and p the center nearest to m, center k loses to p all over the block if
    |m - k|^2 - |m - p|^2 > 2 r |k - p|. Moves of s_k and s_p take at most (s_k + s_p) (|x - k| + |x - p|) from the left
    side, and |x - k| + |x - p| <= 2 (|m - p| + r) + |k - p|.
    """
    n_clusters = len(centers)
    factors, offsets = _score_terms(centers)
    squares = centers.square().sum(dim=1)
    middle, radii = boxes[:, :3], boxes[:, 3:]
    scores, limit, factor = scratch[:, : len(boxes) * n_clusters].view(3, len(boxes), n_clusters)
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
    return kept.sum(dim=1), positions(kept) % n_clusters


def _score_terms(centers: Tensor) -> tuple[Tensor, Tensor]:
    """The score |c|^2 - 2 x.c of centers [..., K, 3] as factors of x [..., K, 3] and offsets [..., K]."""
    index = torch.arange(centers.shape[-2], dtype=torch.float64, device=centers.device)
    return centers * (-2 * _SCALE), centers.square().sum(dim=-1) * _SCALE + index


def _index_of(scores: Tensor) -> Tensor:
    return scores.to(torch.int64).bitwise_and_(_INDEX_MASK)


def positions(mask: Tensor) -> Tensor:  # int64, where the flattened mask is true
    if mask.is_cpu:  # NumPy's search is ten times faster on the sparse masks of late iterations
        return torch.from_numpy(mask.numpy().reshape(-1).nonzero()[0])
    return mask.view(-1).nonzero().view(-1)

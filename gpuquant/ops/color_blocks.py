"""Distinct 8-bit colours with counts, cut into blocks of neighbours, and k-means++ seeding on them.

Levels are integers and sums of them are exact in float64, so nothing here depends on the order of summation, the
number of threads or the device.
"""

import torch
from torch import Tensor

from gpuquant.ops.color_codes import z_order

BLOCK = 128  # colours in a block
PAIRS_AT_ONCE = 1 << 12  # blocks that seeding looks at together
ORIGIN = 128.0  # levels are shifted to -128..127, which saves bits


class ColorBlocks:
    """Distinct colours with their counts, cut into blocks of neighbours.

    Parameters
    ----------
    colors : Tensor, uint8 [M, 3], distinct or not, in any order
    counts : Tensor, int64 or float64 [M], integers; 0 is padding
    """

    def __init__(self, colors: Tensor, counts: Tensor) -> None:
        keys = z_order(colors)
        self._order: Tensor | None = None
        if not bool((keys[1:] >= keys[:-1]).all()):
            self._order = keys.argsort(stable=True)
            colors, counts = colors[self._order], counts[self._order]
        self.n_points = len(colors)
        self.n_blocks = -(-self.n_points // BLOCK)
        padding = self.n_blocks * BLOCK - self.n_points
        points = colors.to(torch.float32) - ORIGIN
        weights = counts.to(torch.float64)
        if padding:
            points = torch.cat([points, points[-1:].expand(padding, 3)])
            weights = torch.cat([weights, weights.new_zeros(padding)])
        self.points = points.view(self.n_blocks, BLOCK, 3).transpose(1, 2).contiguous()  # [n_blocks, 3, BLOCK] float32
        self.weights = weights.view(self.n_blocks, BLOCK)  # float64
        # boxes [n_blocks, 4] float64: the middle and the radius of the smallest box around each block
        low, high = self.points.amin(dim=2).double(), self.points.amax(dim=2).double()
        self.boxes = torch.cat([(low + high) / 2, (high - low).square().sum(dim=1, keepdim=True).sqrt() / 2], dim=1)
        self.total_weight = float(self.weights.sum())
        means = (points * weights[:, None]).sum(dim=0) / self.total_weight
        squares = (points.square() * weights[:, None]).sum(dim=0) / self.total_weight
        self.variance = float((squares - means.square()).mean())  # of the pixels' levels, averaged over the channels

    def colors_at(
        self,
        index: Tensor,  # [n] int64, positions in Z-order
    ) -> Tensor:  # [n, 3] float32, shifted by ORIGIN
        return self.points[index // BLOCK, :, index % BLOCK]

    def caller_order(self, values: Tensor) -> Tensor:
        """Values of the blocks' points [n_blocks, BLOCK] in the order in which the colours were given, [M]."""
        flat = values.reshape(-1)[: self.n_points]
        if self._order is None:
            return flat
        return torch.empty_like(flat).index_copy_(0, self._order, flat)


class ColorSeeding:
    """The state of k-means++: for every colour the squared distance to the closest center chosen so far.

    A new center changes the closest distance only in blocks that it is near to, so only those are looked at.
    """

    def __init__(self, blocks: ColorBlocks) -> None:
        self._blocks = blocks
        self._closest = torch.full_like(blocks.points[:, 0], torch.inf)  # [n_blocks, BLOCK] float32, exact integers
        self._potentials = blocks.weights.sum(dim=1)  # [n_blocks] float64; before the first center, the weights
        self._reach = torch.full_like(self._potentials, torch.inf)  # radius plus the largest closest distance
        self._started = False

    def draw(
        self,
        uniforms: Tensor,  # [L] float64 in [0, 1)
    ) -> Tensor:  # [L] int64, positions in Z-order
        """Draw colours with probability proportional to their weight times their closest squared distance."""
        sums = self._potentials.cumsum(0)
        targets = uniforms * sums[-1]
        right = not self._started  # as scikit-learn: the first draw searches to the right, the others to the left
        block = torch.searchsorted(sums, targets, right=right).clamp_(max=len(sums) - 1)
        rest = targets - (sums[block] - self._potentials[block])
        shares = self._blocks.weights[block]
        if self._started:
            shares = shares * self._closest[block]
        inner = torch.searchsorted(shares.cumsum(1), rest[:, None], right=right).clamp_(max=BLOCK - 1)[:, 0]
        return block * BLOCK + inner

    def add_best(
        self,
        candidates: Tensor,  # [L] int64, positions in Z-order
    ) -> Tensor:  # [3] float64: the color that was added
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers."""
        colors = self._blocks.colors_at(candidates)
        distances = torch.cdist(colors.double(), self._blocks.boxes[:, :3])
        candidate, block = (distances <= self._reach).nonzero().unbind(dim=1)
        best = 0
        if len(candidates) > 1:
            gains = torch.zeros(len(candidates), dtype=torch.float64, device=colors.device)
            for pairs in torch.arange(len(block), device=colors.device).split(PAIRS_AT_ONCE):
                members = block[pairs]
                lower = self._closest[members] - self._lowered(members, colors[candidate[pairs]])
                gains.index_add_(0, candidate[pairs], (lower * self._blocks.weights[members]).sum(dim=1))
            best = int(gains.argmax())
        self._update(block[candidate == best], colors[best])
        return colors[best].double() + ORIGIN

    def potential(self) -> float:
        """Sum of count times closest squared distance."""
        return float(self._potentials.sum())

    def _update(self, changed: Tensor, color: Tensor) -> None:
        for members in changed.split(PAIRS_AT_ONCE):
            closest = self._lowered(members, color.expand(len(members), 3))
            self._closest[members] = closest
            self._potentials[members] = (closest * self._blocks.weights[members]).sum(dim=1)
            self._reach[members] = self._blocks.boxes[members, 3] + closest.amax(dim=1).double().sqrt() + 1e-6
        self._started = True

    def _lowered(
        self,
        members: Tensor,  # [P] int64
        colors: Tensor,  # [P, 3] float32
    ) -> Tensor:  # [P, BLOCK] float32
        distances = (self._blocks.points[members] - colors[:, :, None]).square_().sum(dim=1)
        return distances.minimum(self._closest[members])

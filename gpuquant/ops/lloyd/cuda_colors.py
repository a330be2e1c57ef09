"""Lloyd iterations on 8-bit colors on CUDA: launches of Triton's kernels."""

from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gpuquant.ops.lloyd.colors import ColorLloyd
from gpuquant.ops.points.color_blocks import BLOCK, ColorBlocks

if TYPE_CHECKING:  # it needs Triton
    from gpuquant.ops.lloyd.cuda_runs import KernelLloyd


class KernelColorLloyd(ColorLloyd):
    """Lloyd iterations by kernels, on blocks of colors."""

    def __init__(self, points: ColorBlocks, n_clusters: int, n_runs: int, kernels: ModuleType) -> None:
        super().__init__(points, n_clusters, n_runs)
        blocks, origin, weights = points.for_kernels()
        self._labels = torch.full((self.n_all, weights.shape[1]), -1, dtype=torch.int16, device=weights.device)
        self.kernels: KernelLloyd = kernels.KernelLloyd(
            blocks, origin, weights, self._labels, n_clusters, single=False, snap="grid", group=BLOCK
        )

    @property
    def labels(self) -> Tensor:
        return self._labels[:, : self.points.n_points]

    @property
    def totals(self) -> Tensor:
        return self.kernels.totals

    def changed(self, runs: list[int]) -> list[int]:
        return self.kernels.changed(runs)

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        return self.kernels.step(centers, active)

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        return self.kernels.iterate(*progress, **pace)

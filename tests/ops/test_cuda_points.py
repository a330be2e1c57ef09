"""Cells of colors as Triton kernels, in the interpreter, against plain torch."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from gpuquant.colors.codes import colors_from_z_order, z_order
from gpuquant.ops.points import color_cells, cuda
from gpuquant.ops.points.colors import ColorPoints

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


def keys_of(n_colors: int, n_clouds: int = 5) -> torch.Tensor:  # [M] int32, distinct and ascending
    random = np.random.RandomState(n_colors)
    middles = random.randint(0, 256, (n_clouds, 3))[random.randint(0, n_clouds, n_colors)]
    colors = (middles + random.normal(0, 6, (n_colors, 3))).clip(0, 255).astype(np.uint8)
    colors[:2] = [[0, 0, 0], [255, 255, 255]][:n_colors]
    found: torch.Tensor = z_order(torch.from_numpy(colors)).unique()
    return found


@pytest.mark.parametrize(
    ("n_colors", "bits"),
    [
        (1, (2, 1)),
        (1500, (4, 3)),
        pytest.param(1500, (4, 3, 1), marks=pytest.mark.slow),
        pytest.param(7000, (6, 5), marks=pytest.mark.slow),
    ],
)
def test_cells_are_those_of_plain_torch(n_colors: int, bits: tuple[int, ...]) -> None:
    """And what is known of them without another look."""
    keys = keys_of(n_colors, n_clouds=1 + n_colors // 300)
    colors = colors_from_z_order(keys)
    counts = torch.from_numpy(np.random.RandomState(0).randint(1, 10**6, len(keys)))
    found = cuda.coarsen(colors.to(DEVICE), counts.to(DEVICE), bits)
    for cells, expected in zip(found, color_cells.coarsen(colors, counts, bits), strict=True):
        assert torch.equal(cells.colors.cpu(), expected.colors)
        assert torch.equal(cells.counts.cpu(), expected.counts)
        assert cells.error == expected.error
        for moments, own in ((cells.moments, expected), (cells.finer_moments, ColorPoints(colors[None], counts[None]))):
            points = own if isinstance(own, ColorPoints) else ColorPoints(own.colors[None], own.counts[None])
            assert moments is not None
            assert torch.equal(moments, points.moments[0])

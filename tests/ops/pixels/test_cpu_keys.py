"""Keys of colors: compiled loops and their twin in plain torch, against NumPy."""

from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import needs_numba
from pixel_oracles import both, numpy_keys, photo_like

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.pixels import cpu_keys


@both
@pytest.mark.parametrize("n_colors", [0, 1, 5001])
def test_keys_and_colors_are_each_others_inverse(implementation: ModuleType, n_colors: int) -> None:
    colors = photo_like(n_colors)
    keys = implementation.keys_from_colors(torch.from_numpy(colors))
    assert keys.dtype == torch.int32
    np.testing.assert_array_equal(keys.numpy(), numpy_keys(colors))
    np.testing.assert_array_equal(implementation.colors_from_keys(keys).numpy(), colors)
    with_alpha = torch.nn.functional.pad(torch.from_numpy(colors), (0, 1), value=99)
    assert torch.equal(implementation.keys_from_colors(with_alpha), keys)


@needs_numba
def test_all_keys_come_back() -> None:
    keys = torch.arange(N_CODES, dtype=torch.int32)
    assert torch.equal(cpu_keys.keys_from_colors(cpu_keys.colors_from_keys(keys)), keys)

"""Integers for colors, and back."""

import torch
from pixel_oracles import photo_like

from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, colors_from_z_order, z_order


def test_codes_come_back_as_the_same_colors() -> None:
    colors = torch.from_numpy(photo_like(5000))
    assert torch.equal(colors_from_codes(codes_from_colors(colors)), colors)


def test_keys_come_back_as_they_were() -> None:
    keys = torch.arange(N_CODES, dtype=torch.int32)
    assert torch.equal(z_order(colors_from_z_order(keys)), keys)

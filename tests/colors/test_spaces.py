"""sRGB and Oklab, beside values that others have published or computed."""

import pytest
import torch

from gpuquant.colors.spaces import oklab_from_srgb, srgb_from_oklab

# CSS Color 4 writes these named colors in Oklab
PUBLISHED = [
    ((255, 255, 255), (1.0, 0.0, 0.0)),
    ((0, 0, 0), (0.0, 0.0, 0.0)),
    ((255, 0, 0), (0.62796, 0.22486, 0.12585)),
    ((0, 255, 0), (0.86644, -0.23389, 0.17950)),
    ((0, 0, 255), (0.45201, -0.03246, -0.31153)),
]
# sRGB_to_XYZ and XYZ_to_Oklab of color-science 0.4.7, whose matrices by way of XYZ are rounded: gray is not quite so
COMPUTED = [
    ((12, 200, 77), (0.726473, -0.178523, 0.114714)),
    ((250, 128, 114), (0.734987, 0.133710, 0.071198)),
    ((1, 2, 3), (0.082310, -0.003925, -0.007021)),
    ((90, 90, 90), (0.467602, 0.000001, -0.000053)),
    ((33, 66, 199), (0.452006, -0.013213, -0.208285)),
    ((222, 184, 135), (0.804536, 0.022217, 0.074540)),
]


@pytest.mark.parametrize(("levels", "oklab"), COMPUTED)
def test_values_of_another_library(levels: tuple[int, ...], oklab: tuple[float, ...]) -> None:
    assert oklab_from_srgb(torch.tensor(levels)).tolist() == pytest.approx(oklab, abs=2e-4)


@pytest.mark.parametrize(("levels", "oklab"), PUBLISHED)
def test_published_values(levels: tuple[int, ...], oklab: tuple[float, ...]) -> None:
    assert oklab_from_srgb(torch.tensor(levels)).tolist() == pytest.approx(oklab, abs=1e-5)


def test_every_level_comes_back() -> None:
    levels = torch.cartesian_prod(*[torch.arange(0, 256, 5)] * 3)
    assert float((srgb_from_oklab(oklab_from_srgb(levels)) - levels).abs().max()) < 1e-9


def test_colors_outside_of_srgb_are_clipped() -> None:
    found = srgb_from_oklab(torch.tensor([[0.7, 0.4, 0.0], [1.2, 0.0, 0.0], [-0.1, 0.0, 0.0]]))
    assert bool(((found >= 0) & (found <= 255)).all())
    assert found[1].tolist() == pytest.approx([255, 255, 255])
    assert found[2].tolist() == [0, 0, 0]

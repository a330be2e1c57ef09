import numpy as np
import pytest
import torch

from gpuquant.errors import ArgumentError
from gpuquant.palette import Palette

COLORS = np.array([[255, 0, 1], [16, 32, 48]], np.uint8)


def test_hex_is_css() -> None:
    assert Palette(COLORS).hex == ("#ff0001", "#102030")
    assert Palette(torch.from_numpy(COLORS)).hex == ("#ff0001", "#102030")
    assert Palette(COLORS, np.array([255, 0], np.uint8)).hex == ("#ff0001ff", "#10203000")


def test_length_is_the_number_of_entries() -> None:
    assert len(Palette(COLORS)) == 2


@pytest.mark.parametrize("colors", [COLORS.astype(float), COLORS[0], np.zeros((2, 4), np.uint8)])
def test_colors_are_checked(colors: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="colors"):
        Palette(colors)


def test_alpha_is_checked() -> None:
    with pytest.raises(ArgumentError, match="alpha"):
        Palette(COLORS, np.zeros(3, np.uint8))
    with pytest.raises(ArgumentError, match="alpha"):
        Palette(COLORS, np.ones(2))  # type: ignore[arg-type]


def test_lists_are_refused() -> None:
    with pytest.raises(ArgumentError, match="colors"):
        Palette([[0, 0, 0]])  # type: ignore[arg-type]

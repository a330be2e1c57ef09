"""Names of colors, beside a conversion in plain Python."""

import numpy as np
import pytest
import torch
from PIL import ImageColor

from gpuquant.palette import Palette


def oklab(levels: tuple[int, ...]) -> np.ndarray:
    """Ottosson's published C code, in plain Python."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in np.divide(levels, 255)]
    r, g, b = linear
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return np.array(
        [
            0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
            1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
            0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
        ]
    )


def test_every_named_color_has_its_name_or_its_first_synonym() -> None:
    names = sorted(ImageColor.colormap)
    colors = [ImageColor.getrgb(name) for name in names]
    expected = tuple(names[colors.index(color)] for color in colors)
    assert Palette(np.array(colors, np.uint8)).names() == expected
    assert {"gray", "aqua", "fuchsia", "darkslategray"} <= set(expected)
    assert not {name for name in expected if "grey" in name}


def test_the_nearest_name_of_any_color() -> None:
    rows = np.random.RandomState(0).randint(0, 256, (200, 3)).astype(np.uint8)
    points = {name: oklab(ImageColor.getrgb(name)) for name in sorted(ImageColor.colormap)}
    for row, found in zip(rows.tolist(), Palette(rows).names(), strict=True):
        apart = {name: float(np.linalg.norm(point - oklab(row))) for name, point in points.items()}
        assert apart[found] == pytest.approx(min(apart.values()))


def test_clear_entries_are_transparent() -> None:
    palette = Palette(np.array([[255, 0, 0], [255, 0, 0], [0, 0, 0]], np.uint8), np.array([1, 0, 0], np.uint8))
    assert palette.names() == ("red", "transparent", "transparent")
    assert Palette(torch.tensor([[255, 255, 254]], dtype=torch.uint8)).names() == ("white",)
    assert Palette(np.zeros((0, 3), np.uint8)).names() == ()

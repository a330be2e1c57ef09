"""Orders of a palette's entries, beside Python's colorsys and cases worked by hand."""

import colorsys

import numpy as np

from gpuquant.palettes.order import hue_order, luminance_order
from gpuquant.palettes.palette import Palette


def test_dark_to_light() -> None:
    levels = np.array([200, 3, 90, 255, 90, 0], np.uint8)
    palette = Palette(np.stack([levels] * 3, axis=1))
    assert luminance_order(palette).tolist() == [5, 1, 2, 4, 0, 3]  # equal ones keep their order
    blue_and_yellow = Palette(np.array([[255, 255, 0], [0, 0, 255]], np.uint8))
    assert luminance_order(blue_and_yellow).tolist() == [1, 0]


def test_grays_come_before_hues_and_clear_ones_last() -> None:
    rows = [[0, 0, 255], [128, 129, 128], [0, 255, 0], [255, 0, 0], [20, 20, 22], [0, 0, 0], [255, 0, 255]]
    palette = Palette(np.array(rows, np.uint8), np.array([255, 255, 255, 255, 255, 0, 255], np.uint8))
    assert hue_order(palette).tolist() == [4, 1, 3, 2, 0, 6, 5]
    assert luminance_order(palette).tolist()[-1] == 5


def test_hues_go_round_as_those_of_hsv_do() -> None:
    hues = np.arange(12) / 12
    rows = [[round(255 * level) for level in colorsys.hsv_to_rgb(hue, 1, 1)] for hue in hues]
    places = hue_order(Palette(np.array(rows, np.uint8))).tolist()
    start = places.index(0)
    assert places[start:] + places[:start] == list(range(12))

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch

from gpuquant.errors import ArgumentError
from gpuquant.palettes.palette import Palette, shares_of

COLORS = np.array([[255, 0, 1], [16, 32, 48]], np.uint8)


def test_hex_is_css() -> None:
    assert Palette(COLORS).hex == ("#ff0001", "#102030")
    assert Palette(torch.from_numpy(COLORS)).hex == ("#ff0001", "#102030")
    assert Palette(COLORS, np.array([255, 0], np.uint8)).hex == ("#ff0001ff", "#10203000")


def test_length_is_the_number_of_entries() -> None:
    assert len(Palette(COLORS)) == 2


def test_levels_are_kept_as_they_are() -> None:
    alpha, shares = np.array([255, 255], np.uint8), np.array([0.25, 0.75])
    palette = Palette(COLORS, alpha, shares)
    assert (palette.colors is COLORS, palette.alpha is alpha, palette.shares is shares) == (True, True, True)
    tensor = torch.from_numpy(COLORS)
    assert Palette(tensor).colors is tensor


def test_a_palette_of_a_palette_or_of_a_result_is_the_same() -> None:
    @dataclasses.dataclass
    class Result:
        palette: Palette

    palette = Palette(COLORS, [0, 9], [0.5, 0.5])
    for given in (palette, Result(palette)):
        again = Palette(given)
        assert (again.colors is palette.colors, again.alpha is palette.alpha) == (True, True)
        assert again.shares is palette.shares
    assert Palette(palette, shares=[0.1, 0.9]).shares.tolist() == [0.1, 0.9]  # type: ignore[union-attr]


def test_alpha_is_checked() -> None:
    assert Palette(COLORS, [0, 255]).rgba[:, 3].tolist() == [0, 255]
    for wrong in (np.zeros(3, np.uint8), np.ones(2), [0.5, 1.0], [0, 256], [True, False], "ff", np.array([-1, 0])):
        with pytest.raises(ArgumentError, match="alpha"):
            Palette(COLORS, wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="alpha is given twice"):
        Palette(["#ff000080"], [3])


@pytest.mark.parametrize(
    "shares",
    [[0.25, 0.75], (1, 0), np.array([0.5, 0.5], np.float32), torch.tensor([0.1, 0.9]), np.array([0.333, 0.666])],
)
def test_shares_are_float64(shares: object) -> None:
    palette = Palette(COLORS, shares=shares)  # type: ignore[arg-type]
    assert palette.shares is not None
    assert "float64" in str(palette.shares.dtype)
    np.testing.assert_array_equal(np.asarray(palette.shares), np.asarray(shares, np.float64))


@pytest.mark.parametrize(
    "shares",
    [
        [1.0],
        [0.5, 0.4],
        [1.5, -0.5],
        [float("nan"), 1.0],
        np.array([np.nan, 1.0]),
        np.array([np.inf, 0.0]),
        np.array([1.5, -0.5]),
        np.full((2, 1), 0.5),
        np.array([True, False]),
        np.array([0.5, 0.5], complex),
        np.array(["a", "b"]),
        torch.tensor([True, False]),
        [True, False],
        ["0.5", "0.5"],
        [10**400, 0],
        0.5,
        {0.5: 1},
    ],
)
def test_shares_are_checked(shares: object) -> None:
    with pytest.raises(ArgumentError, match="shares must be 2 numbers from 0 to 1 that add up to 1"):
        Palette(COLORS, shares=shares)  # type: ignore[arg-type]


def test_shares_of_counts() -> None:
    for counts in (np.array([3, 1, 0]), torch.tensor([3, 1, 0])):
        assert shares_of(counts).tolist() == [0.75, 0.25, 0]


def test_a_line_shows_it() -> None:
    assert repr(Palette("#000")) == "Palette(1 color: #000000)"
    assert repr(Palette("#000,#fff8,red")) == "Palette(3 colors: #000000ff #ffffff88 #ff0000ff)"
    assert repr(Palette(np.zeros((4, 3), np.uint8))) == "Palette(4 colors: #000000 #000000 #000000 ...)"
    assert repr(Palette(np.zeros((0, 3), np.uint8))) == "Palette(0 colors)"
    assert repr(Palette(torch.zeros((9, 3), dtype=torch.uint8, device="meta"))) == "Palette(9 colors)"


def test_its_array_is_its_rows() -> None:
    for palette in (Palette(COLORS), Palette(torch.from_numpy(COLORS), [7, 8])):
        for found in (np.asarray(palette), np.array(palette)):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, palette.rows)
        assert np.asarray(palette, np.float32).dtype == np.float32
    np.array(Palette(COLORS))[:] = 0  # a copy
    assert COLORS.any()
    with pytest.raises(ValueError, match="copy"):
        Palette(COLORS).__array__(copy=False)


def test_it_is_replaced_and_copied_as_other_values_are() -> None:
    palette = Palette(COLORS, [3, 4], [0.25, 0.75])
    for again in (copy.deepcopy(palette), pickle.loads(pickle.dumps(palette))):
        assert (again.hex, np.asarray(again.shares).tolist()) == (palette.hex, [0.25, 0.75])
    changed = dataclasses.replace(palette, colors=np.array([[255] * 3, [0] * 3], np.uint8))
    assert (changed.hex, changed.shares) == (("#ffffff03", "#00000004"), palette.shares)
    with pytest.raises(dataclasses.FrozenInstanceError):
        palette.alpha = None  # type: ignore[misc]

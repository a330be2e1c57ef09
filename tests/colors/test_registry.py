"""A color space is one entry of a table: checks, help and use follow."""

import numpy as np
import pytest
from commands import choices_in_help, names_in_docstring, process_after
from conftest import Pixels

import gpuquant
from gpuquant.colors.registry import SPACES, Space
from gpuquant.errors import ArgumentError

ADD = """
from gpuquant.colors.registry import SPACES, Space
SPACES["looks"] = Space("gpuquant.colors.spaces:OKLAB", "In looks all is well.")
"""


@pytest.mark.parametrize("alpha", [False, True])
def test_a_space_is_one_entry(china: Pixels, alpha: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "looks", Space("gpuquant.colors.spaces:OKLAB"))
    levels = np.full((*china.shape[:2], 1), 200, np.uint8)
    photo = np.concatenate([china, levels], axis=2) if alpha else china
    found, expected = (gpuquant.quantize(photo, 4, color_space=space) for space in ("looks", "oklab"))
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.palette.rgba, expected.palette.rgba)
    with pytest.raises(ArgumentError, match=r"color_space='lab' is unknown; use 'srgb', .* or 'looks'$"):
        gpuquant.quantize(photo, 4, color_space="lab")


@pytest.mark.parametrize("command", ["quantize", "palette", "batch"])
def test_help_lists_the_table(command: str) -> None:
    assert choices_in_help("--color-space", command, after=ADD) == [*SPACES, "looks"]


def test_help_says_when_to_use_them() -> None:
    text = " ".join(process_after(ADD, "quantize", "--help")[1].split())
    assert "Where distances are taken. In oklab equal ones look about equal. " in text
    assert " In looks all is well. [default: srgb]" in text


def test_the_docstring_names_the_table() -> None:
    assert names_in_docstring(gpuquant.quantize, "color_space") == list(SPACES)

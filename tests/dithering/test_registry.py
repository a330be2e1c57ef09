"""A method of dithering is one entry of a table: checks, help and use follow."""

import numpy as np
import pytest
from commands import choices_in_help, names_in_docstring, process_after
from conftest import Pixels

import gpuquant
from gpuquant.dithering.registry import METHODS, Method
from gpuquant.errors import ArgumentError

ADD = """
from gpuquant.dithering.registry import METHODS, Method
METHODS["dots"] = Method("looks printed", "gpuquant.dithering.masks:bayer")
"""


def test_a_method_is_one_entry(china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "dots", Method(mask="gpuquant.dithering.masks:bayer"))
    found, expected = (gpuquant.quantize(china, 4, dither=dither) for dither in ("dots", "bayer"))
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert found.options == {**(expected.options or {}), "dither": "dots"}
    with pytest.raises(ArgumentError, match=r"dither='lines' is unknown; use 'none', .* or 'dots'$"):
        gpuquant.quantize(china, 4, dither="lines")


@pytest.mark.parametrize("command", ["quantize", "apply", "batch"])
def test_help_lists_the_table(command: str) -> None:
    assert choices_in_help("--dither", command, after=ADD) == [*METHODS, "dots"]


def test_help_says_when_to_use_them() -> None:
    text = " ".join(process_after(ADD, "quantize", "--help")[1].split())
    assert "blue-noise has the least visible pattern, " in text
    assert ", dots looks printed. [default: none]" in text


def test_the_docstring_names_the_table() -> None:
    assert names_in_docstring(gpuquant.quantize, "dither") == list(METHODS)

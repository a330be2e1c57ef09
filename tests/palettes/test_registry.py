"""A format of palettes is one entry of a table: checks, help and use follow."""

import re
from pathlib import Path

import numpy as np
import pytest
from commands import choices_in_help, process_after

import gpuquant
from gpuquant.errors import ArgumentError
from gpuquant.palettes.registry import FORMATS, PaletteFormat

ADD = """
from gpuquant.palettes.registry import FORMATS, PaletteFormat
FORMATS[".two"] = PaletteFormat("gpuquant.palettes.text_formats:write_hex", "gpuquant.palettes.text_formats:read_hex")
"""
TWO = gpuquant.Palette(np.array([[255, 128, 0], [0, 0, 0]], np.uint8))


def test_a_format_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = PaletteFormat(
        "gpuquant.palettes.text_formats:write_css",
        "gpuquant.palettes.text_formats:read_css",
        has_variables=True,
        max_entries=2,
    )
    monkeypatch.setitem(FORMATS, ".two", entry)
    path = tmp_path / "a.two"
    gpuquant.write_palette(TWO, path, prefix="brand")
    assert "--brand-1: #ff8000;" in path.read_text()
    assert gpuquant.read_palette(path).hex == gpuquant.Palette(str(path)).hex == TWO.hex
    with pytest.raises(ArgumentError, match=r"\.two palettes have at most 2 entries, not 3; use .* or \.two$"):
        gpuquant.write_palette("#000,#fff,#f00", path)
    with pytest.raises(ArgumentError, match=r"use \.hex, .* or \.two$"):
        gpuquant.write_palette(TWO, tmp_path / "a.three")
    with pytest.raises(ArgumentError, match=r"use .* or \.two$"):
        gpuquant.write_palette("#00000080", tmp_path / "a.gpl")
    with pytest.raises(ArgumentError, match=r"variables, which are in \.css or \.two alone"):
        gpuquant.write_palette(TWO, tmp_path / "a.hex", prefix="brand")


def test_help_lists_the_table() -> None:
    texts = [ending[1:] for ending, form in FORMATS.items() if form.kind == "text"]
    assert choices_in_help("--format", "palette", after=ADD) == [*texts, "two"]
    every = f"{', '.join(FORMATS)} or .two"
    for command in ("quantize", "palette", "apply", "batch"):
        assert every in " ".join(process_after(ADD, command, "--help")[1].split()), command


def test_the_docstring_names_the_table() -> None:
    assert set(FORMATS) <= set(re.findall(r"\.[a-z]+", str(gpuquant.write_palette.__doc__)))

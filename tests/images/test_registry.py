"""A format of images is one entry of a table: checks, help and plans of batches follow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import choices_in_help, names_in_docstring, process_after
from PIL import Image

import gpuquant
from gpuquant.batch.plan import plan_files
from gpuquant.errors import ArgumentError
from gpuquant.images.registry import FORMATS, ImageFormat
from gpuquant.images.writing import check_format, write_picture

ADD = """
from gpuquant.images.registry import FORMATS, ImageFormat
FORMATS["BMP"] = ImageFormat((".bmp", ".dib"), 99)
"""
PIXELS = np.random.RandomState(0).randint(0, 256, (9, 7, 3), np.uint8)


def test_a_format_of_pictures_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "BMP", ImageFormat((".bmp",), 9, holds_indexed=False))
    write_picture(Image.fromarray(PIXELS), tmp_path / "a.bmp")
    with Image.open(tmp_path / "a.bmp") as image:
        assert image.format == "BMP"
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
    with pytest.raises(
        ArgumentError, match=r"a BMP is at most 9 pixels wide and high, not 10 x 1; use \.png or \.tif$"
    ):
        write_picture(Image.new("RGB", (10, 1)), tmp_path / "b.bmp")
    with pytest.raises(ArgumentError, match=r"cannot write '\.txt'; use \.png, \.tif, \.jpg, \.webp or \.bmp$"):
        write_picture(Image.fromarray(PIXELS), tmp_path / "a.txt")


def test_a_format_of_results_is_checked_by_its_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ImageFormat((".two",), 99, holds_opacity=False, holds_profile=False, max_colors=2)
    monkeypatch.setitem(FORMATS, "TWO", entry)
    assert check_format("a.two", 2, size=(99, 1)) == "TWO"
    for n_colors, alpha, words in (
        (3, None, r"a TWO holds at most 2 colors, not 3; use \.png or \.tif$"),
        (2, np.array([7, 255], np.uint8), "a TWO holds no partly transparent colors"),
    ):
        with pytest.raises(ArgumentError, match=words):
            check_format("a.two", n_colors, alpha=alpha)
    with pytest.raises(ArgumentError, match=r"use \.png, \.tif, \.gif or \.two$"):
        check_format("a.three", 2)
    with pytest.raises(ArgumentError, match=r"image_format='three' must be 'png', 'tif', 'gif' or 'two'$"):
        gpuquant.quantize_files("a.jpg", "out", image_format="three")


def test_results_have_every_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "PNG", replace(FORMATS["PNG"], endings=(".png", ".apng")))
    gpuquant.quantize(PIXELS, 2).save(tmp_path / "a.apng")
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    plan = plan_files([tmp_path], tmp_path / "out")
    assert ([file.source.name for file in plan.files], plan.results_passed_over) == (["b.png"], 1)


def test_help_lists_the_table() -> None:
    assert choices_in_help("--format", "batch", after=ADD) == ["png", "tif", "gif", "bmp"]
    for command in ("quantize", "apply"):
        text = " ".join(process_after(ADD, command, "--help")[1].split())
        assert "What to write (.png, .tif, .gif, .bmp), or" in text
        assert text.count("(.png, .tif, .jpg, .webp, .bmp).") == 2


def test_the_docstring_names_the_table() -> None:
    assert names_in_docstring(gpuquant.quantize_files, "image_format") == ["png", "tif", "gif"]

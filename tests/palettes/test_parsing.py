"""Palettes as arguments of recipes: what is applied, and where k-means starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels

import gpuquant
from gpuquant import Palette, apply_palette, quantize, quantize_files, read_palette, write_palette
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.parsing import as_palette, as_start, palette_to_apply

ROWS = np.array([[0, 0, 0], [255, 255, 255], [200, 30, 40]], np.uint8)
HEX = ("#000000", "#ffffff", "#c81e28")


def forms(folder: Path) -> list[Any]:
    """One palette in every form that it may be given in."""
    write_palette(Palette(ROWS), folder / "p.gpl")
    return [
        Palette(ROWS),
        ROWS,
        torch.from_numpy(ROWS),
        ROWS.tolist(),
        list(map(tuple, ROWS)),
        ROWS / 255,
        list(HEX),
        ["black", (255, 255, 255), "rgb(200 30 40)"],
        "#000,#fff,#c81e28",
        folder / "p.gpl",
        str(folder / "p.gpl"),
    ]


def test_a_palette_is_taken_as_it_is(tmp_path: Path) -> None:
    palette = Palette(ROWS)
    assert as_palette(palette) is palette
    for form in forms(tmp_path):
        assert as_palette(form).hex == HEX


def test_it_is_applied_in_every_form(china: Pixels, tmp_path: Path) -> None:
    small = china[:20, :20]
    expected = apply_palette(small, Palette(ROWS))
    for form in [*forms(tmp_path), expected]:
        found = apply_palette(small, form)
        assert found.palette.hex == HEX
        np.testing.assert_array_equal(found.labels, expected.labels)


def test_files_get_it_in_every_form(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(ROWS[None].repeat(4, axis=1)).save(tmp_path / "a.bmp")
    for place, form in enumerate([["#000", "white", ROWS[2]], "#000,#fff,#c81e28", *forms(tmp_path)[-2:]]):
        out = tmp_path / f"out{place}"
        assert [outcome.status for outcome in quantize_files(tmp_path / "a.bmp", out, palette=form)] == ["written"]
        assert read_palette(out / "a.png").hex == HEX
    with pytest.raises(ArgumentError, match="'#0' is not a color"):
        quantize_files(tmp_path / "a.bmp", tmp_path / "out", palette="#0")


def test_what_cannot_be_applied() -> None:
    for n_entries in (0, 65_537):
        with pytest.raises(ArgumentError, match=f"from 1 to 65536 entries, not {n_entries}"):
            palette_to_apply(np.zeros((n_entries, 3), np.uint8))
    with pytest.raises(ArgumentError, match="got NoneType"):
        apply_palette(np.zeros((1, 1), np.uint8), None)  # type: ignore[arg-type]
    with pytest.raises(ImageFileError, match="no such file"):
        apply_palette(np.zeros((1, 1), np.uint8), "missing.hex")


def test_k_means_starts_from_every_form(china: Pixels, tmp_path: Path) -> None:
    expected = quantize(china, 3, init=ROWS.astype(np.float64))
    for form in [*forms(tmp_path), apply_palette(china[:2, :2], "#000,#fff,#c81e28")]:
        found = quantize(china, init=form, n_colors=None)
        assert (found.palette.hex, found.n_iter) == (expected.palette.hex, expected.n_iter)
    assert quantize(china, 3, init="black white #c81e28").palette.hex == expected.palette.hex


def test_centers_need_not_be_whole() -> None:
    centers = np.array([[0.5, 3.25, 254.75], [1, 2, 3]])
    for given in (centers, torch.from_numpy(centers), centers.astype(np.float32)):
        found = as_start(given)
        assert isinstance(found, torch.Tensor)
        assert (found.dtype, found.tolist()) == (torch.float64, centers.tolist())
    shares = as_start(np.array([[0.5, 0.25, 1.0], [0, 0, 0]]))
    assert isinstance(shares, torch.Tensor)
    assert shares.tolist() == [[127.5, 63.75, 255], [0, 0, 0]]
    assert [as_start(name) for name in ("k-means++", "random")] == ["k-means++", "random"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"init": "wu"}, r"init='wu' is unknown; use \"k-means\+\+\", \"random\" or a palette: 'wu' is not a color"),
        ({"init": "#000,#fff", "n_colors": 8}, "init has 2 colors, but n_colors is 8; leave out n_colors"),
        ({"init": np.zeros((3, 3)), "n_colors": 2}, "init has 3 colors, but n_colors is 2"),
        ({"init": "#000,#fff", "target_psnr": 30}, "init as colors .* excludes target_psnr"),
        ({"init": ["#0008", "#fff"]}, "init must be opaque colors"),
        ({"init": np.zeros((2, 4))}, "init must be opaque colors"),
        ({"init": np.zeros((0, 3))}, "init must be opaque colors"),
        ({"init": np.zeros((0, 3), np.uint8)}, "at least one color"),
        ({"init": np.full((8, 3), 256.0)}, "init must hold levels from 0 to 255"),
        ({"init": np.full((8, 3), -1.0)}, "init must hold levels from 0 to 255"),
        ({"init": np.full((8, 3), np.nan)}, "init must hold levels from 0 to 255"),
        ({"init": np.zeros((8, 3), complex)}, 'init must be "k-means\\+\\+", "random" or a palette'),
        ({"init": None}, 'init must be "k-means\\+\\+", "random" or a palette: .* NoneType'),
        ({"init": [0, 0, 0]}, "init must be .* not of numbers"),
        ({"init": np.zeros((4097, 3), np.uint8)}, "n_colors=4097"),
    ],
)
def test_what_is_no_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        quantize(np.zeros((2, 2, 3), np.uint8), **settings)
    with pytest.raises(ImageFileError, match="no such file"):
        quantize(np.zeros((2, 2, 3), np.uint8), init="missing.gpl")


def test_results_know_their_shares(china: Pixels) -> None:
    result = quantize(china, 5)
    assert isinstance(result.palette.shares, np.ndarray)
    np.testing.assert_array_equal(result.palette.shares, np.bincount(result.labels.ravel()) / china[..., 0].size)
    applied = apply_palette(torch.from_numpy(china), "#000,#fff,#0f0", dither="bayer")
    assert isinstance(applied.palette.shares, torch.Tensor)
    assert applied.palette.shares.tolist() == (applied.counts.double() / china[..., 0].size).tolist()  # type: ignore[union-attr]
    both = gpuquant.extract_palette([china[:50], china[50:]], 5)
    np.testing.assert_array_equal(both.shares, result.palette.shares)

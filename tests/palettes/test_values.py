"""Values that may be given as a palette, against Pillow's reading of colors and NumPy's rounding."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageColor

from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.palettes.palette import Palette, PaletteLike

ROWS = np.array([[255, 128, 0], [0, 0, 0]], np.uint8)
WITH_ALPHA = np.array([[255, 128, 0, 255], [1, 2, 3, 64]], np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.uint64])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, np.ndarray.tolist, lambda rows: tuple(rows)])
def test_integers_are_levels(dtype: type, make: Any) -> None:
    rows: npt.NDArray[Any] = np.array([[100, 1, 0], [7, 127, 1]], dtype)
    for given in (rows, np.column_stack([rows, np.array([255, 255] if dtype != np.int8 else [9, 9], dtype)])):
        palette = Palette(make(given))
        np.testing.assert_array_equal(palette.rgba[:, :3], rows)
        assert (palette.alpha is None) == (dtype != np.int8 or given is rows)
        assert (isinstance(palette.colors, torch.Tensor), str(palette.colors.dtype)[-5:]) == (
            make is torch.from_numpy,
            "uint8",
        )
    assert Palette(np.array([[1, 1, 1], [0, 0, 1]])).hex == ("#010101", "#000001")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, np.ndarray.tolist, lambda rows: tuple(rows)])
def test_floats_are_shares_of_255(dtype: type, make: Any) -> None:
    rows: npt.NDArray[Any] = np.random.RandomState(0).rand(50, 4).astype(dtype)
    rows[:2] = [[0, 1, 0.5, 0.25], [0.1, 0.3, 0.7, 0.9]]  # some halves of a level
    for given in (rows, rows[:, :3]):
        palette = Palette(make(np.ascontiguousarray(given)))
        expected = np.rint(255 * given.astype(np.float64))
        np.testing.assert_array_equal(palette.rows, expected)
        assert isinstance(palette.colors, torch.Tensor) == (make is torch.from_numpy)
    every = np.arange(256) / 255  # as a color map of matplotlib has
    np.testing.assert_array_equal(Palette(every.repeat(3).reshape(-1, 3).astype(dtype)).rows[:, 0], np.arange(256))


def test_alpha_of_opaque_entries_is_none() -> None:
    assert Palette(WITH_ALPHA).rows.tolist() == WITH_ALPHA.tolist()
    assert Palette(torch.from_numpy(WITH_ALPHA)).rows.tolist() == WITH_ALPHA.tolist()
    assert Palette(WITH_ALPHA[:1]).alpha is None
    assert Palette(["#ff8000ff"]).alpha is None


@pytest.mark.parametrize(
    "text",
    [
        "#000,#fff,#ff8000",
        "#000, #fff , #ff8000,",
        "000000;ffffff;FF8000",
        "black white\n\t#FF8000\n",
        "rgb(0, 0, 0),rgb(100% 100% 100%),rgba(255,128,0,1)",
        "Black,rgb(255 255 255 / 100%),#ff8000ff",
    ],
)
def test_texts_of_colors(text: str) -> None:
    assert Palette(text).hex == ("#000000", "#ffffff", "#ff8000")


def test_a_color_alone_is_a_palette_of_one() -> None:
    for text in ("#f00", "red", " ff0000 ", "rgb(255 0 0)"):
        assert Palette(text).hex == ("#ff0000",)


def test_every_name_of_css_is_known() -> None:
    names = list(ImageColor.colormap)
    expected = [list(ImageColor.getrgb(name)) for name in names]
    assert Palette(names).rows.tolist() == Palette(",".join(names)).rows.tolist() == expected


def test_lists_mix_texts_and_numbers() -> None:
    expected = ("#ff8000ff", "#ffffffff", "#01020380", "#ff000040", "#000000ff")
    assert Palette(["#ff8000", "white", (1, 2, 3, 128), "rgb(255 0 0 / 25%)", [0, 0, 0]]).hex == expected
    assert Palette(("white", (1.0, 0.5, 0), np.array([1, 0, 0.25]), torch.tensor([0, 0, 1]))).hex == (
        "#ffffff",
        "#ff8000",
        "#ff0040",
        "#0000ff",
    )
    assert Palette(np.array(["#fff", "red"])).hex == Palette(np.array(["#fff", "red"], object)).hex
    assert Palette(list(torch.from_numpy(ROWS))).hex == Palette(ROWS).hex


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.HEX").write_text("#ff8000\n#00000080\n")
    for path in ("a,b.HEX", tmp_path / "a,b.HEX", str(tmp_path / "a,b.HEX")):
        assert Palette(path).hex == ("#ff8000ff", "#00000080")
    (tmp_path / "white").write_text("a color comes before a file")
    assert Palette("white").hex == ("#ffffff",)
    for path in ("#000,#fff.hex", "a\0.hex", "a" * 5000 + ".gpl"):
        with pytest.raises(ImageFileError, match=r"no such file|too long"):
            Palette(path)
    Image.fromarray(ROWS[None]).save("photo.jpg")
    with pytest.raises(ArgumentError, match=r"photo.jpg is no palette: .* end in \.hex, .* extract_palette"):
        Palette("photo.jpg")
    with pytest.raises(ArgumentError, match=r"no palettes are in '\.jpg'; use \.hex"):
        Palette(Path("photo.jpg"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("#000,#12,#fff", "'#12' in '#000,#12,#fff' is not a color; give a list of colors such as \"#000,#fff\", or a"),
        ("nonsense", "'nonsense' is not a color; .* file that ends in .hex, .gpl"),
        ("light blue", "'light' in 'light blue' is not a color"),
        ("rgb(1,2,3", r"'rgb\(1,2,3' is not a color"),
        ("rgb(" + "9" * 5_000_000 + "e,0,0)", "is not a color"),
        ("(" * 1_000_000, "is not a color"),
        ("", "holds no color"),
        (" ,\n;", "holds no color"),
        ("a\0b", "is not a color"),
        (["#000", "#12"], "color 2: '#12' is not a color"),
        (["#000,#fff"], "color 1: "),
        ([], "at least one color"),
        ([255, 0, 0], r"not of numbers; .* \[\[255, 128, 0\]\]"),
        ((0.5, 0.5, 0.5, 1.0), "not of numbers"),
        (np.array([255, 0, 0], np.uint8), "not of numbers"),
        (torch.tensor([0.5, 0.5, 0.5]), "not of numbers"),
        ([[255, 0]], r'color 1 must be a text such as "#ff8000", or three or four numbers .*, got \(int, int\)'),
        ([[0, 0, 0], [0, 0, 0, 0, 0]], "color 2 must be"),
        ([[0, 0, 0], 7], "color 2 must be .* got int"),
        ([[True, False, True]], r"color 1 must be .* got \(bool, bool, bool\)"),
        ([[0, 0, None]], "color 1 must be"),
        ([b"#fff"], "color 1 must be .* got bytes"),
        ([[[0, 0, 0]]], r"color 1 must be .* got \(list\)"),
        ([[0, 0, 256]], "color 1: levels are from 0 to 255, got 256"),
        ([[0, 0, -1]], "color 1: levels are from 0 to 255, got -1"),
        ([[0, 0, 10**5000]], "color 1: levels are from 0 to 255, got 1e"),
        ([[0, 0, 0], [128.0, 0, 0]], "color 2: floats are from 0 to 1, got 128; write levels to 255 as integers"),
        ([[0.5, 0, 0], [255, 0, 0]], "color 2: floats are from 0 to 1, got 255"),
        ([[float("nan"), 0, 0]], "color 1: floats are from 0 to 1, got nan"),
        (
            ROWS * 1.0,
            r"floats from 0 to 1, got float64 from 0 to 255; .* colors\.clip\(0, 255\)\.round\(\)\.astype\(np\.uint8\)",
        ),
        (torch.from_numpy(ROWS) * 1.0, r"for levels 0..255 use colors\.clamp\(0, 255\)\.round\(\)\.to\(torch\.uint8\)"),
        (np.full((2, 3), np.nan), "got NaN or infinity; replace them, such as with np.nan_to_num"),
        (np.full((2, 3), -0.1), "got float64 from -0.1 to -0.1; cut it with"),
        (np.full((2, 3), 256), "colors must be levels from 0 to 255, got 256"),
        (np.full((2, 3), -1), "colors must be levels from 0 to 255, got -1"),
        (torch.full((2, 3), 300, dtype=torch.int16), "colors must be levels from 0 to 255, got 300"),
        (torch.full((2, 3), 300, dtype=torch.uint16), "colors must be levels from 0 to 255, got 300"),
        (np.zeros((2, 3), bool), "got bool"),
        (np.zeros((2, 3), complex), "got complex128"),
        (torch.zeros((2, 3), dtype=torch.bool), "got bool; for black and white"),
        (np.zeros((2, 3), "M8[s]"), "got datetime64"),
        (np.zeros((2, 5), np.uint8), r"must be \[K, 3\], or \[K, 4\] with alpha, got uint8 \(2, 5\)"),
        (np.zeros((4, 4, 3), np.uint8), r"got uint8 \(4, 4, 3\); extract_palette finds the palette of an image"),
        (np.uint8(3), "got uint8"),
        ({"red": 1}, "colors must be an array or a list .* got dict"),
        ((row for row in ROWS), "got generator"),
        (None, "got NoneType"),
        (7, "got int"),
        (b"#fff", "got bytes"),
        (Image.new("P", (1, 1)), "got Image"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_no_palette(value: PaletteLike, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as caught:
        Palette(value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_any_text_is_a_palette_or_an_error_of_ours() -> None:
    chance = np.random.RandomState(0)
    letters = [*"#0fF8a,;. ()%/rgb\n\0é", "rgb(", "red", "#fff", ".hex"]
    n_read = 0
    for _ in range(2000):
        text = "".join(chance.choice(letters, chance.randint(1, 9)))
        try:
            n_read += len(Palette(text)) > 0
        except GpuquantError:
            continue
    assert n_read > 20

"""Palettes as text: bytes written by hand, and other programs' readers."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import GimpPaletteFile, ImageColor

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.files import palette_text, read_palette, write_palette
from gpuquant.palettes.palette import Palette
from gpuquant.palettes.text_formats import css_shares

OPAQUE = Palette(np.array([[255, 128, 0], [0, 0, 0], [255, 128, 0]], np.uint8))
WITH_ALPHA = Palette(OPAQUE.colors, np.array([255, 0, 128], np.uint8))

RED = Palette("red, white")


def read(name: str, content: str | bytes, folder: Path) -> tuple[str, ...]:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_palette(folder / name).hex


@pytest.mark.parametrize(
    ("ending", "palette", "expected"),
    [
        (".hex", OPAQUE, "#ff8000\n#000000\n#ff8000\n"),
        (".hex", WITH_ALPHA, "#ff8000ff\n#00000000\n#ff800080\n"),
        (".txt", OPAQUE, "; paint.net Palette File\nFFFF8000\nFF000000\nFFFF8000\n"),
        (".txt", WITH_ALPHA, "; paint.net Palette File\nFFFF8000\n00000000\n80FF8000\n"),
        (".css", RED, ":root {\n  --color-1: #ff0000; /* red */\n  --color-2: #ffffff; /* white */\n}\n"),
        (
            ".css",
            Palette(["#f00", "#0000"], shares=[0.87654, 0.12346]),
            ":root {\n"
            "  --color-1: #ff0000ff; /* red, 87.65 % */\n"
            "  --color-2: #00000000; /* transparent, 12.35 % */\n"
            "}\n",
        ),
        (".json", RED, '{"colors": [\n  "#ff0000",\n  "#ffffff"\n], "names": [\n  "red",\n  "white"\n]}\n'),
        (
            ".gpl",
            OPAQUE,
            "GIMP Palette\nName: gpuquant\nColumns: 3\n#\n"
            "255 128   0\t#ff8000\n  0   0   0\t#000000\n255 128   0\t#ff8000\n",
        ),
    ],
)
def test_what_is_written(ending: str, palette: Palette, expected: str) -> None:
    assert palette_text(palette, ending) == expected


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    rows = np.random.RandomState(0).randint(0, 256, (256, 3)).astype(np.uint8)
    write_palette(Palette(rows), tmp_path / "odd \n name.gpl")
    found, mode = GimpPaletteFile.GimpPaletteFile(io.BytesIO((tmp_path / "odd \n name.gpl").read_bytes())).getpalette()
    assert (mode, found) == ("RGB", rows.tobytes())
    assert b"Name: odd name\n" in (tmp_path / "odd \n name.gpl").read_bytes()
    shares = (np.arange(256) / np.arange(256).sum()).tolist()
    value = json.loads(palette_text(Palette(rows, shares=shares), ".json"))
    assert [ImageColor.getrgb(color) for color in value["colors"]] == list(map(tuple, rows.tolist()))
    assert (value["names"], value["shares"]) == (list(Palette(rows).names()), shares)
    assert list(value) == ["colors", "names", "shares"]
    values = re.findall(r"--color-\d+: (#\w+);", palette_text(Palette(rows), ".css"))
    assert [ImageColor.getrgb(value) for value in values] == list(map(tuple, rows.tolist()))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.hex", b"\xef\xbb\xbf; a comment\r\n\r\n// another\r\n FF8000 \r\n#00ff0080\r\n", "#ff8000ff #00ff0080"),
        ("a.HEX", "1a1c2c\r5d275d\r", "#1a1c2c #5d275d"),
        ("a.hex", "ff8000\n000000".encode("utf-16"), "#ff8000 #000000"),
        ("a.txt", "; Paint.NET\r\nFFFF8000\r\n80000000 ; half clear\r\n", "#ff8000ff #00000080"),
        ("a.txt", "#ff8000\n#00000080\n1a1c2c\n", "#ff8000ff #00000080 #1a1c2cff"),
        ("a.gpl", "GIMP Palette\n255 128 0\n0 0 0 black 12\n", "#ff8000 #000000"),
        (
            "a.gpl",
            b"\xef\xbb\xbfGIMP Palette\r\nName: Caf\xe9\r\nColumns: 0\r\n# c\r\n\r\n\t1\t2 3\tUntitled\r\n",
            "#010203",
        ),
        ("a.gpl", "GIMP Palette\nChannels: RGBA\n#\n1 2 3 128 x\n4 5 6 255\n", "#01020380 #040506ff"),
        (
            "a.css",
            "a:hover { color: #123 }\n/* no; --no: #fff; */\n:root {--a:#f80; --gap: 4px;\n--b : #FF800080 !important;"
            "--c: rgb(255, 128, 0);--d:rgb(100% 50% 0% / 50%); --e: rgba(1,2,3,.5); --f: White; --g: transparent}",
            "#ff8800ff #ff800080 #ff8000ff #ff800080 #01020380 #ffffffff #00000000",
        ),
        ("a.css", ":root{--last: #010203", "#010203"),
        ("a.json", '["#ff8000", "00ff00", "#123"]', "#ff8000 #00ff00 #112233"),
        ("a.json", b'\xef\xbb\xbf{"name": "x", "colors": ["#ff800080"]}', "#ff800080"),
    ],
)
def test_files_from_elsewhere(name: str, content: str | bytes, expected: str, tmp_path: Path) -> None:
    assert read(name, content, tmp_path) == tuple(expected.split())


class Named(Palette):
    def names(self) -> tuple[str, ...]:
        return ('*/ } a { --evil: red; /* "\\', "two\nlines, */*/ 7.00 % */")


def test_names_stay_in_their_places() -> None:
    named = Named("#000,#fff", shares=[0.25, 0.75])
    text = palette_text(named, ".css")
    assert re.sub(r"/\*.*?\*/", "", text) == ":root {\n  --color-1: #000000; \n  --color-2: #ffffff; \n}\n"
    assert text.count("\n") == 4
    assert json.loads(palette_text(named, ".json"))["names"] == list(named.names())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.css", "  --a: #000000; /* x, 25.00 % */\n  --b: #ffffff; /* y, z, 75.00 % */\n", [0.25, 0.75]),
        ("a.css", "--a: #000000; /* x, 25.00 % */\r\n--b: #ffffff; /* y, 75.01 % */\r\n", [0.25, 0.7501]),
        ("a.css", "--a: #000000; /* x, 25.00 % */\n--b: #ffffff;\n", None),
        ("a.css", "--a: #000000; /* x, 25.00 % */\n--b: #ffffff; /* y, 25.00 % */\n", None),
        ("a.css", "--a: #000000; /* x, 25.00 % */\n--b: #ffffff; /* y, 975.00 % */\n", None),
        ("a.css", "--a: #000000; /* x, 25 % */\n--b: #ffffff; /* y, 75 % */\n", None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [0.25, 0.75]}', [0.25, 0.75]),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [0, 1]}', [0, 1]),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [25, 75]}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [1]}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [NaN, 1]}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": [true, false]}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": ["25 %", "75 %"]}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": {"facebook": 7}}', None),
        ("a.json", '{"colors": ["#000", "#fff"], "shares": 1e999}', None),
        ("a.json", '["#000", "#fff"]', None),
    ],
)
def test_shares_are_read_where_they_make_sense(
    name: str, content: str, expected: list[float] | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    palette = read_palette(tmp_path / name)
    assert palette.hex == ("#000000", "#ffffff")
    assert (palette.shares if palette.shares is None else palette.shares.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.hex", "#ff8000\n#ff80\n", "a.hex: line 2: '#ff80' is not a color"),
        ("a.hex", b"\x00\xff" * 50, "line 1: "),
        ("a.txt", "; x\nFFFF80000\n", "line 2: 'FFFF80000' is not a color such as FFFF8000"),
        ("a.gpl", "Palette\n1 2 3\n", "line 1: the file does not begin"),
        ("a.gpl", "", "line 1: the file does not begin"),
        ("a.gpl", "GIMP Palette\nName: x\n1 2 256\n", "line 3: '1 2 256' does not begin with levels"),
        ("a.gpl", "GIMP Palette\n\n1 2\n", "line 3: "),
        ("a.gpl", "GIMP Palette\n1 2 -3\n", "line 2: "),
        ("a.gpl", "GIMP Palette\n1 2 ٣\n", "line 2: "),
        ("a.gpl", "GIMP Palette\nChannels: RGBA\n1 2 3 x\n", "line 3: "),
        ("a.css", "/* two\nlines */ :root {\n\n --a: #fff;\n\n --b: #ffffg;\n}", "line 6: '#ffffg' is not a color"),
        ("a.css", "--a: rgb(1, 2, 300)", "line 1: "),
        ("a.css", "--a: rgb(1, 2)", "line 1: "),
        ("a.css", "--a: hsl(1 2% 3%)", "line 1: "),
        ("a.css", "p { color: #fff }", "holds 0 colors"),
        ("a.json", '{"colors": [\n"#fff",\n}', "line 3: no JSON"),
        ("a.json", '["#fff", 7]', "color 2: '7' is not a color"),
        ("a.json", '["#ff8000", "red\\n\\ud800ish"]', "color 2: "),
        ("a.json", '{"entries": []}', "neither a list of colors nor an object"),
        ("a.json", "[" * 200_000, "no JSON"),
        ("a.json", "9" * 5000, "no JSON"),
        ("a.json", "[]", "holds 0 colors"),
    ],
)
def test_malformed_files(name: str, content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=re.escape(words)) as caught:
        read(name, content, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(
    "content",
    [
        b"/*" * (1 << 20),
        b"--" * (1 << 20),
        b"--a:rgb(" + b"1" * (1 << 21),
        b" " * 4000000,
        b'["rgb(' + b"1" * (1 << 21) + b'e,0,0)"]',
    ],
)
@pytest.mark.parametrize("ending", [".css", ".hex", ".gpl", ".txt", ".json"])
def test_long_files_take_linear_time(content: bytes, ending: str, tmp_path: Path) -> None:
    """A reader of quadratic time would take hours for it."""
    with pytest.raises(ImageFileError):
        read(f"a{ending}", content, tmp_path)


@pytest.mark.parametrize("part", [" ", "-", "--a: #000000; /* ", "\n", "\n  --a: #000000; /* a", "\n--a: #"])
def test_looking_for_shares_takes_linear_time(part: str) -> None:
    assert css_shares(part * (4_000_000 // len(part))) == []


@pytest.mark.parametrize("ending", [".gpl", ".ase", ".act"])
def test_transparency_that_a_format_cannot_hold(ending: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"opaque colors.*use \.hex, \.txt, \.css, \.json or \.png") as caught:
        write_palette(WITH_ALPHA, tmp_path / f"a{ending}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    write_palette(Palette(OPAQUE.colors, np.full(3, 255, np.uint8)), tmp_path / f"a{ending}")
    assert read_palette(tmp_path / f"a{ending}").hex == OPAQUE.hex

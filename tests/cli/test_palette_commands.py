"""The commands palette and apply, and the options of others that take palette files."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import all_shown, process, run
from conftest import Pixels
from oracles import drawing
from PIL import Image

import gpuquant
from gpuquant.palettes.files import read_palette, write_palette
from gpuquant.palettes.palette import Palette


@pytest.fixture
def photos(china: Pixels, tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, part in zip(paths, (china[:60, :80], china[60:, :90]), strict=True):
        Image.fromarray(part).save(path)
    return paths


def test_a_pipe_gets_a_line_for_each_entry(photos: list[Path]) -> None:
    code, out, err = process("palette", *photos, "-k", 5)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    pixels = np.concatenate([np.asarray(Image.open(photo)).reshape(-1, 3) for photo in photos])
    result = gpuquant.quantize(pixels[None], 5)
    assert [line[0] for line in lines] == list(result.palette.hex)
    np.testing.assert_allclose([float(line[1]) for line in lines], result.shares, atol=5e-7)
    assert [line[2] for line in lines] == list(result.palette.names())


def test_a_terminal_shows_blocks_of_color(photos: list[Path]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpuquant", "palette", str(photos[0]), "-k", "3"]
    environment = os.environ | {"TERM": "xterm", "COLORTERM": "truecolor"}
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=True)
    os.close(theirs)
    shown = all_shown(ours)
    result = gpuquant.quantize(photos[0], 3)
    lines = shown.splitlines()
    assert (len(lines), done.stderr) == (3, b"")
    shares = map(float, result.shares)
    for line, color, share, name in zip(lines, result.palette.hex, shares, result.palette.names(), strict=True):
        red, green, blue = bytes.fromhex(color[1:])
        assert f"\x1b[48;2;{red};{green};{blue}m" in line
        assert line.endswith(f"{color}  {share:6.2%}  {name}")


@pytest.mark.parametrize("form", ["hex", "css", "json", "gpl", "txt"])
def test_formats_of_text_are_printed(
    form: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(["palette", *photos, "-k", 4, "--format", form], monkeypatch, capsys)
    assert code == 0
    (photos[0].parent / f"p.{form}").write_text(out)
    assert read_palette(photos[0].parent / f"p.{form}").hex == gpuquant.extract_palette(photos, 4).hex


def test_the_file_is_written_beside_what_is_printed(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos[0].parent / "p.ase"
    given = ["palette", photos[0], "-k", 4, "--random-state", 3, "--out", out]
    code, printed, error = run(given, monkeypatch, capsys)
    expected = gpuquant.extract_palette(photos[0], 4, random_state=3).hex
    assert code == 0
    assert read_palette(out).hex == expected
    assert [line.split("\t")[0] for line in printed.splitlines()] == list(expected)
    assert error == f"wrote {out}\n"
    assert run(given, monkeypatch, capsys)[0] == 2
    assert run([*given, "--force"], monkeypatch, capsys)[0] == 0


def test_orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    colors = np.array([[0, 0, 255], [255, 255, 0], [90, 90, 90], [255, 0, 0], [0, 0, 0]], np.uint8)
    pixels = np.concatenate([colors[place][None].repeat(10 - place, axis=0) for place in range(5)])
    alpha = np.where((pixels == 0).all(axis=1), 0, 255).astype(np.uint8)
    Image.fromarray(np.column_stack([pixels, alpha])[None]).save(tmp_path / "a.png")
    expected = {
        "share": ["#0000ff", "#ffff00", "#5a5a5a", "#ff0000", "#000000"],
        "luminance": ["#0000ff", "#5a5a5a", "#ff0000", "#ffff00", "#000000"],
        "hue": ["#5a5a5a", "#ff0000", "#ffff00", "#0000ff", "#000000"],
    }
    shares = {"#0000ff": 10, "#ffff00": 9, "#5a5a5a": 8, "#ff0000": 7, "#000000": 6}
    for order, entries in expected.items():
        code, out, _ = run(["palette", tmp_path / "a.png", "-k", 5, "--sort", order], monkeypatch, capsys)
        assert code == 0
        lines = [line.split("\t") for line in out.splitlines()]
        assert [line[0][:7] for line in lines] == entries
        assert [float(line[1]) for line in lines] == pytest.approx([shares[color] / 40 for color in entries], abs=1e-6)
        assert [line[2] for line in lines if line[0] == "#00000000"] == ["transparent"]


@pytest.mark.parametrize("ending", ["hex", "gpl", "ase", "act", "txt", "css", "json", "png"])
def test_a_palette_of_any_format_is_applied_in_its_order(
    ending: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    palette, out = photos[0].with_name(f"p.{ending}"), photos[0].with_name("out.png")
    rows = np.array([[255, 255, 255], [0, 0, 0], [90, 100, 110], [255, 255, 255], [1, 255, 1]], np.uint8)
    write_palette(Palette(rows), palette)
    code, printed, _ = run(["apply", palette, photos[0], out, "--json"], monkeypatch, capsys)
    result, expected = json.loads(printed), gpuquant.apply_palette(photos[0], Palette(rows))
    assert code == 0
    assert result["palette"] == list(Palette(rows).hex)
    assert result["counts"] == expected.counts.tolist()
    assert (result["mse"], result["written"]) == (expected.mse, [str(out)])
    with Image.open(out) as image:
        assert image.getpalette("RGB") == rows.ravel().tolist()
        np.testing.assert_array_equal(np.asarray(image), expected.labels)


@pytest.mark.parametrize("text", ["#fff, black,rgb(90, 100, 110)", "white"])
def test_colors_are_applied(
    text: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos[0].with_name("out.png")
    code, printed, error = run(["apply", text, photos[0], out, "--json"], monkeypatch, capsys)
    assert (code, error) == (0, "")
    expected = gpuquant.apply_palette(photos[0], text)
    assert json.loads(printed)["palette"] == list(expected.palette.hex)
    np.testing.assert_array_equal(np.asarray(Image.open(out).convert("RGB")), expected.to_array())
    folder = photos[0].with_name("out")
    assert run(["batch", photos[0], "-o", folder, "--palette", text], monkeypatch, capsys)[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "a.png").convert("RGB")), expected.to_array())


def test_a_terminal_says_what_is_applied(photos: list[Path]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpuquant", "apply", "#fff,#000,red", "a.png", "out.png"]
    environment = os.environ | {"TERM": "xterm"}
    folder = photos[0].parent
    subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True, cwd=folder)
    os.close(theirs)
    shown = all_shown(ours)
    assert "Applying 3 colors to a.png" in shown


def test_a_prefix_names_variables(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = gpuquant.quantize(photos[0], 3)
    given = ["palette", photos[0], "-k", 3, "--prefix", "brand"]
    code, printed, _ = run([*given, "--format", "css"], monkeypatch, capsys)
    assert code == 0
    lines = re.findall(r"--(\S+): (\S+); /\* (.+), (\S+) % \*/", printed)
    assert [line[0] for line in lines] == ["brand-1", "brand-2", "brand-3"]
    assert (tuple(line[1] for line in lines), tuple(line[2] for line in lines)) == (
        result.palette.hex,
        result.palette.names(),
    )
    np.testing.assert_allclose([float(line[3]) / 100 for line in lines], result.shares, atol=6e-5)
    out = photos[0].with_name("p.css")
    assert run([*given, "--format", "hex", "--out", out], monkeypatch, capsys)[:2] == (
        0,
        "".join(f"{color}\n" for color in result.palette.hex),
    )
    assert out.read_text() == printed


def test_shares_keep_their_entries_when_sorted(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photos[0].with_name("p.json")
    given = ["palette", photos[0], "-k", 6, "--sort", "luminance", "--out", out]
    assert run(given, monkeypatch, capsys)[0] == 0
    result, found = gpuquant.quantize(photos[0], 6), read_palette(out)
    assert found.hex != result.palette.hex
    shares = dict(zip(result.palette.hex, np.asarray(result.shares), strict=True))
    assert np.asarray(found.shares).tolist() == [shares[color] for color in found.hex]


def test_apply_dithers(photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    palette, out = photos[0].with_name("p.hex"), photos[0].with_name("out.png")
    palette.write_text("#ffffff\n#000000\n")
    given = Palette(np.array([[255, 255, 255], [0, 0, 0]], np.uint8))
    options = ["--dither", "floyd-steinberg", "--dither-strength", 0.5]
    code, _, _ = run(["apply", palette, photos[0], out, *options], monkeypatch, capsys)
    assert code == 0
    expected = gpuquant.apply_palette(photos[0], given, dither="floyd-steinberg", dither_strength=0.5)
    assert not np.array_equal(expected.labels, gpuquant.apply_palette(photos[0], given).labels)
    with Image.open(out) as image:
        np.testing.assert_array_equal(np.asarray(image), expected.labels)


def test_what_apply_prints(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    palette, out = photos[0].with_name("p.hex"), photos[0].with_name("out.gif")
    palette.write_text("#ffffff\n#000000\n")
    code, printed, _ = run(["apply", palette, photos[0], out], monkeypatch, capsys)
    assert code == 0
    assert printed.startswith("#ffffff ")
    assert "80 x 60 pixels, 2 colors, MSE" in printed
    assert "k-means" not in printed
    assert printed.endswith(f"wrote {out}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["palette"], 2, "PHOTO"),
        (["palette", "{a}", "--format", "ase"], 2, "'--format': 'ase' is not one of 'hex', 'gpl'"),
        (["palette", "{a}", "--sort", "age"], 2, "'--sort': 'age' is not one of 'share', 'luminance', 'hue'"),
        (["palette", "{none}", "--out", "{folder}/p.pal"], 2, "use .hex"),
        (["palette", "{none}", "--out", "{folder}/p.act", "-k", "300"], 2, "at most 256"),
        (["palette", "{none}", "--prefix", "brand"], 2, "--prefix 'brand' is for variables, which are in .css alone"),
        (["palette", "{none}", "--prefix", "a b", "--format", "css"], 2, "--prefix 'a b' must be"),
        (["palette", "{none}", "--prefix", "brand", "--out", "{folder}/p.json"], 2, "in .css alone"),
        (["apply", "#fff,#00", "{a}", "{folder}/out.png"], 2, "'#00' in '#fff,#00' is not a color; give a list"),
        (["apply", "#fff", "{a}", "{a}", "--force"], 2, "a name of its own"),
        (["apply", "{a}.jpg", "{a}", "{folder}/out.png"], 2, "a file that ends in .hex, .gpl"),
        (["batch", "{a}", "-o", "{folder}/out", "--palette", "#fff,#00"], 2, "'#00' in '#fff,#00' is not a color"),
        (["palette", "{a}", "{b}", "--out", "{b}", "--force"], 2, "a name of its own"),
        (["palette", "{a}", "{none}"], 1, "no such file"),
        (["palette", "{a}", "--max-pixels", "9"], 1, "--max-pixels"),
        (["palette", "{a}", "--device", "mps"], 1, "mps"),
        (["apply", "{none}", "{none}", "{folder}/out.jpg"], 2, "use .png, .tif or .gif"),
        (["apply", "{good}", "{a}", "{a}", "--force"], 2, "a name of its own"),
        (["apply", "{good}", "{a}", "{folder}/nowhere/out.png"], 2, "there is no folder"),
        (["apply", "{b}", "{a}", "{b}", "--force"], 2, "a name of its own"),
        (["apply", "{a}.txt", "{a}", "{folder}/out.png"], 1, "no such file"),
        (["apply", "{bad}", "{a}", "{folder}/out.png"], 1, "line 1: "),
        (["apply", "{good}", "{good}", "{folder}/out.png"], 1, "good.hex is not an image"),
        (["apply", "{good}", "{a}", "{good}"], 2, "cannot write '.hex'"),
        (["quantize", "{none}", "{folder}/out.png", "--palette", "{folder}/p.pal"], 2, "use .hex"),
        (["quantize", "{clear}", "{folder}/out.png", "--palette", "{folder}/p.gpl"], 2, ".gpl palettes hold opaque"),
        (["batch", "{a}", "-o", "{folder}/out", "--palette", "{bad}"], 1, "bad.css: line 1"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    arguments: list[str],
    code: int,
    words: str,
    photos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = photos[0].parent
    (folder / "good.hex").write_text("#ffffff\n#000000\n")
    (folder / "bad.css").write_text("--a: #12;")
    Image.fromarray(drawing("all kinds")).save(folder / "clear.png")
    names = {"a": photos[0], "b": photos[1], "folder": folder, "good": folder / "good.hex", "bad": folder / "bad.css"}
    before = {path: path.read_bytes() for path in folder.iterdir()}
    given = [argument.format(**names, clear=folder / "clear.png", none=folder / "none.png") for argument in arguments]
    found, out, error = run(given, monkeypatch, capsys)
    assert (found, out) == (code, "")
    assert words in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("option", ["quantize", "batch"])
def test_other_commands_take_any_format(
    option: str, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos[0].parent
    if option == "quantize":
        given = ["quantize", photos[0], folder / "out.png", "--palette", folder / "p.ase", "-k", 3]
        assert run(given, monkeypatch, capsys)[0] == 0
        assert read_palette(folder / "p.ase").hex == gpuquant.quantize(photos[0], 3).palette.hex
    else:
        write_palette(Palette(np.array([[0, 0, 0], [255, 255, 255]], np.uint8)), folder / "p.gpl")
        given = ["batch", photos[0], "-o", folder / "out", "--palette", folder / "p.gpl"]
        assert run(given, monkeypatch, capsys)[0] == 0
        assert read_palette(folder / "out" / "a.png").hex == ("#000000", "#ffffff")


@pytest.mark.parametrize("command", ["palette", "apply"])
def test_help_has_an_example(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([command, "--help"], monkeypatch, capsys)
    assert code == 0
    assert f"Example: gpuquant {command} " in out

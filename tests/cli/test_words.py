"""The words of the command line: its own names, in every message and every help."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gpuquant
from gpuquant.cli import app as cli
from gpuquant.cli.words import ONLY_WITH_VALUE, OPTIONS, in_cli_words

COMMANDS = ["quantize", "batch", "report", "palette", "apply", "bench", "info"]


def said(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["gpuquant", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main()
    output = capsys.readouterr()
    return output.out + output.err


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("n_colors and target_psnr exclude each other", "-k and --target-psnr exclude each other"),
        ("device='gpu' is not there; use device=\"auto\"", "--device 'gpu' is not there; use --device \"auto\""),
        ("raise it with max_pixels (--max-pixels)", "raise it with --max-pixels"),
        ("take it with preview=True (--preview)", "take it with --preview"),
        ("or use existing='update' (--skip-existing --force)", "or use --skip-existing --force"),
        ("all of them with quantize_files (gpuquant batch)", "all of them with gpuquant batch"),
        ("skip or overwrite them (--skip-existing or --force)", "skip or overwrite them (--skip-existing or --force)"),
        ("write them anew (--force), or apply it (--palette)", "write them anew (--force), or apply it (--palette)"),
        ("extract_palette (gpuquant palette) finds it", "gpuquant palette finds it"),
        ("it excludes effort= and palette=", "it excludes --effort  and --palette "),
        ("the dither of this device", "the dither of this device"),
        ("give more with memory='3GB', or make a TIFF", "give more with --memory '3GB', or make a TIFF"),
        ("n_colors=3: no such file", "n_colors=3: no such file"),
        ("my n_colors/a.png: image_format", "my n_colors/a.png: --format"),
    ],
)
def test_messages_in_the_words_of_options(message: str, expected: str) -> None:
    assert in_cli_words(message, ["batch", "quantize", "n_colors=3", "my n_colors/a.png"]) == expected


def test_every_option_that_is_named_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = "".join(said([command, "--help"], monkeypatch, capsys) for command in COMMANDS)
    for option in [*OPTIONS.values(), *ONLY_WITH_VALUE.values()]:
        if option.startswith("-"):
            assert re.search(rf"{option}\b", shown), option


@pytest.mark.parametrize(
    "arguments",
    [
        ["quantize", "{photo}", "-k", 4, "--target-psnr", 30],
        ["quantize", "{photo}", "--target-psnr", "inf"],
        ["quantize", "{photo}", "--effort", "none"],
        ["quantize", "{photo}", "--dither", "none-such"],
        ["quantize", "{photo}", "--dither-strength", 0.5],
        ["quantize", "{photo}", "--background", "nothing"],
        ["quantize", "{photo}", "--device", "gpu"],
        ["quantize", "{photo}", "--device", "cuda:99"],
        ["quantize", "{photo}", "--random-state", -1],
        ["quantize", "{photo}", "--max-pixels", 10],
        ["quantize", "{folder}", "{folder}/a.png"],
        ["quantize", "{photo}", "{folder}/a.gif", "-k", 300],
        ["quantize", "{photo}", "{photo}"],
        ["palette", "{photo}", "-k", 3, "--target-psnr", 30],
        ["palette", "{photo}", "--sort", "size"],
        ["palette", "{photo}", "--format", "act"],
        ["palette", "{photo}", "--prefix", "a b", "--format", "css"],
        ["palette", "{photo}", "--prefix", "a", "--format", "hex"],
        ["apply", "#12", "{photo}", "{folder}/a.png"],
        ["apply", "{folder}/no.hex", "{photo}", "{folder}/a.png"],
        ["batch", "{photo}", "-o", "{folder}/out", "--format", "jpg"],
        ["batch", "{photo}", "-o", "{folder}/out", "--palette", "#000", "--shared-palette"],
        ["batch", "{photo}", "-o", "{folder}/out", "--palette", "#000", "-k", 4],
        ["batch", "{photo}", "-o", "{folder}/out", "--keep-profile", "--shared-palette"],
        ["batch", "{photo}", "-o", "{folder}/out", "--target-psnr", 0],
        ["batch", "{photo}", "-o", "{folder}/out", "--suffix", "/"],
        ["batch", "{photo}"],
        ["batch", "{folder}/empty", "-o", "{folder}/out"],
        ["bench", "{folder}/no.png"],
        ["bench", "-k", 0],
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_no_message_has_names_of_python(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "empty").mkdir()
    filled = [str(one).format(photo=tmp_path / "photo.png", folder=tmp_path) for one in arguments]
    line = said(filled, monkeypatch, capsys).replace(str(tmp_path), "")
    assert line.startswith("gpuquant: ")
    assert line.count("\n") == 1
    assert not re.search(r"\b[a-z]+_[a-z_]+\b|=(True|None|'|\")|uint8|ndarray|Traceback|colour", line), line


def test_help_is_whole_and_in_the_order_of_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(["--help"], monkeypatch, capsys)
    assert re.findall(r"^  ([a-z]+) +[A-Z].*\.$", shown, re.MULTILINE) == COMMANDS
    for text in [shown, *(said([command, "--help"], monkeypatch, capsys) for command in COMMANDS)]:
        assert not re.search(r"^ .*\w\.\.\.", text, re.MULTILINE)  # cut off
        assert "colour" not in text
        assert max(map(len, text.splitlines())) <= 80
        assert text.endswith("\n")


def test_what_would_steer_a_terminal_is_made_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tmp_path / "a\x1b[31m\a.png"
    assert "a\\x1b[31m\\x07.png: no such file" in said(["quantize", name], monkeypatch, capsys)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(name, "PNG")
    shown = said(["quantize", name], monkeypatch, capsys)
    assert "\x1b" not in shown
    assert "\\x1b[31m\\x07-8-colors.png" in shown


@pytest.mark.parametrize("letter", ["\n", "\r", "\t", "\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\udcff"])
def test_names_are_lines_whole_and_in_their_order(
    letter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Letters that end a line or turn its direction round stand in names of photos, of results and of palettes."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in (f"a{letter}.png", f"b{letter}.png"):
        Image.new("RGB", (2, 2)).save(f"in/{name}")
    Path(f"in/b{letter}.png").write_bytes(b"")
    for given in (["batch", "in", "-o", "out"], ["palette", f"in/a{letter}.png", "--out", f"p{letter}.hex"]):
        shown = said(given, monkeypatch, capsys)
        assert letter not in re.sub(r"^#000000\t.*\n|\n", "", shown) or letter == "\n"
        escaped = letter.encode("unicode_escape", "surrogatepass").decode()
        for name in ("a", "b") if given[0] == "batch" else ("p",):
            assert re.search(rf"{name}{re.escape(escaped)}\.", shown), shown


def test_a_palette_that_is_written_is_not_one_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "brand.hex").write_text("#fff\n")
    for given in (tmp_path / "brand.hex", "#000,#fff"):
        shown = said(["quantize", tmp_path / "a.png", tmp_path / "b.png", "--palette", given], monkeypatch, capsys)
        assert f'to use a palette: gpuquant apply "{given}" PHOTO OUT' in shown
    assert (tmp_path / "brand.hex").read_text() == "#fff\n"


def test_an_interrupt_while_libraries_are_imported_ends_at_once(tmp_path: Path) -> None:
    """It is not taken for a missing part of a library."""
    code = """
import builtins, os, signal, sys
from gpuquant.cli import app as cli
original = builtins.__import__
def interrupted(name, *others, **options):
    if name == "torch":
        os.kill(os.getpid(), signal.SIGINT)
    return original(name, *others, **options)
builtins.__import__ = interrupted
sys.argv = ["gpuquant", "quantize", "a.png"]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "gpuquant: interrupted\n")


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from gpuquant import __version__

    assert said(["--version"], monkeypatch, capsys) == f"gpuquant {__version__}\n"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("batch in", "there is no place for the results; name a folder with --output, or give a --suffix for results"),
        (
            "batch in -o .",
            "in lies in the output folder ., where no photos are read; name another one with --output",
        ),
    ],
)
def test_places_of_results_are_asked_for_in_words_of_options(
    given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Image.new("RGB", (2, 2)).save("in/a.png")
    assert said(given.split(), monkeypatch, capsys).startswith(f"gpuquant: {told}")


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    "given", ["quantize a.png x.png", "palette a.png", "apply #000 a.png x.png", "batch a.png -o x"]
)
def test_memory_that_is_too_little_to_be_kept_to_is_told(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("a.png")
    told = "gpuquant: --memory 10MB: less than 500 MB is taken as that much\n"
    assert told in said([*given.split(), "--memory", "10MB"], monkeypatch, capsys)
    force = [] if given.startswith("palette") else ["--force"]
    assert "less than" not in said([*given.split(), *force, "--memory", "500MB"], monkeypatch, capsys)
    assert re.search(r"less\s+than\s+500\s+MB", said([given.split()[0], "--help"], monkeypatch, capsys))


def test_what_effort_brings_is_said_as_it_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    found = re.search(r'effort="best"`: (up to \S+ % less), (in up to twice the time)', readme)
    assert found
    shown = " ".join(said(["quantize", "--help"], monkeypatch, capsys).split())
    assert f"best: {found[1]}, {found[2]}." in shown
    assert f"{found[1]} error {found[2]}" in " ".join((gpuquant.quantize.__doc__ or "").split())

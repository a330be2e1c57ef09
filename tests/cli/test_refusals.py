"""Files that the system refuses to read, to write or to look at are named, with its reason."""

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run
from PIL import Image

import gpuquant

LONG = "n" * 300  # a name that the system takes for no file
REASON = "File name too long"


@pytest.fixture(autouse=True)
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("a.png")
    Path("black.hex").write_text("#000000")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (f"report {LONG}", f"{LONG}: {REASON}"),
        (f"palette {LONG}.jpg", f"{LONG}.jpg cannot be read: {REASON}"),
        (f"palette a.png --out {LONG}.gpl", f"{LONG}.gpl cannot be written: {REASON}"),
        (f"quantize {LONG}.jpg x.png", f"{LONG}.jpg cannot be read: {REASON}"),
        (f"quantize a.png {LONG}.png", f"{LONG}.png cannot be written: {REASON}"),
        (f"quantize a.png {LONG}/x.png", f"{LONG}/x.png cannot be written: {REASON}"),
        (f"quantize a.png x.png --palette {LONG}.hex", f"{LONG}.hex cannot be written: {REASON}"),
        (f"apply {LONG}.hex a.png x.png", f"{LONG}.hex cannot be read: {REASON}"),
        (f"apply black.hex {LONG}.png x.png", f"{LONG}.png cannot be read: {REASON}"),
        (f"batch {LONG}.jpg -o x", f"{LONG}.jpg: it cannot be read: {REASON}"),
        (f"batch a.png -o {LONG}", f"{LONG} cannot be written: {REASON}"),
        (f"batch a.png -o x --report --log {LONG}", f"{LONG} cannot be written: {REASON}"),
        (f"batch a.png -o {LONG} --report", f"{LONG}/report.html: {REASON}"),
    ],
)
def test_the_file_is_named(
    given: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(given.split(), monkeypatch, capsys)
    assert (code, error) == (1, f"gpuquant: {said}\n")


@pytest.mark.parametrize(
    "given",
    [
        "report !",
        "report . --log !",
        "palette !",
        "palette a.png !",
        "palette a.png --out !",
        "quantize !",
        "quantize a.png !",
        "quantize a.png x.png --palette !",
        "quantize a.png x.png --side-by-side !",
        "quantize a.png x.png --error-map !",
        "apply black.hex ! x.png",
        "apply black.hex a.png !",
        "batch ! -o x",
        "batch a.png ! -o x",
        "batch a.png -o !",
        "batch a.png -o x --log !",
        "bench !",
        "bench a.png --out !",
    ],
)
def test_nothing_is_no_name(given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty text, of a variable of a shell that is not set, does not stand for the current folder."""
    arguments = [word.replace("!", "") for word in given.split()]
    code, _, error = run(arguments, monkeypatch, capsys)
    assert (code, error) == (2, "gpuquant: '' is no file or folder\n")
    assert not Path("x").exists()
    assert not Path("x.png").exists()


@pytest.mark.parametrize(
    "call",
    [
        lambda: gpuquant.quantize(""),
        lambda: gpuquant.quantize_file("", "x.png"),
        lambda: gpuquant.quantize_file("a.png", ""),
        lambda: gpuquant.extract_palette([""]),
        lambda: gpuquant.quantize_files("", "x"),
        lambda: gpuquant.quantize_files("a.png", "x", log=""),
        lambda: gpuquant.read_palette(""),
        lambda: gpuquant.quantize("a.png").save(""),
    ],
)
def test_nothing_is_no_name_in_python(call: Callable[[], object]) -> None:
    with pytest.raises(gpuquant.ArgumentError, match="'' is no file or folder"):
        call()

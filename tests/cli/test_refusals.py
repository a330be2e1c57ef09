"""Files that the system refuses to read, to write or to look at are named, with its reason."""

from pathlib import Path

import pytest
from commands import run
from PIL import Image

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
        (f"batch {LONG}.jpg -o x", f"{LONG}.jpg: cannot be read: {REASON}"),
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

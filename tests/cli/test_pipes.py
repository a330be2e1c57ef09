"""Photos by standard input, and pictures to standard output."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpuquant import quantize
from gpuquant.cli import app as cli

PIXELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)


class Standard(io.TextIOWrapper):
    """A stream of this process, a terminal or not."""

    def __init__(self, data: bytes = b"", *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def run(
    arguments: list[Any], monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminals: str = ""
) -> tuple[int, bytes, str]:
    """The command in this process: exit code, bytes of standard output, text of standard error."""
    streams = {
        name: Standard(data if name == "stdin" else b"", terminal=name in terminals)
        for name in ("stdin", "stdout", "stderr")
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["gpuquant", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    for name in ("stdout", "stderr"):
        streams[name].flush()
    written = [streams[name].buffer.getvalue() for name in ("stdout", "stderr")]  # type: ignore[attr-defined]
    return int(stop.value.code or 0), written[0], written[1].decode()


def test_a_photo_goes_through_a_pipe(png: bytes) -> None:
    command = [sys.executable, "-m", "gpuquant", "quantize", "-", "-k", "4"]
    done = subprocess.run(command, input=png, capture_output=True, check=True)
    with Image.open(io.BytesIO(done.stdout)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), quantize(PIXELS, 4).to_array())
    assert b"30 x 20 pixels, 4 colors" in done.stderr


@pytest.mark.parametrize("command", [["quantize", "-k", 4], ["apply", "#000,#fff"]], ids=["quantize", "apply"])
def test_files_and_streams_go_together(
    command: list[Any], png: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png)
    monkeypatch.chdir(tmp_path)
    assert run([*command, "a.png", "b.png", "--side-by-side", "both.png"], monkeypatch, b"")[0] == 0
    assert run([*command, "-", "c.png", "--side-by-side", "again.png"], monkeypatch, png)[0] == 0
    code, out, err = run([*command, "a.png", "-"], monkeypatch, b"")
    assert code == 0
    assert "30 x 20 pixels" in err
    pictures = [np.asarray(Image.open(file)) for file in (io.BytesIO(out), "b.png", "c.png")]
    np.testing.assert_array_equal(pictures, [pictures[0]] * 3)
    assert Path("b.png").read_bytes() == Path("c.png").read_bytes()
    assert Path("both.png").read_bytes() == Path("again.png").read_bytes()
    code, again, err = run([*command, "-", "-", "--json"], monkeypatch, png)
    assert (code, again) == (0, out)
    assert json.loads(err)["written"] == ["-"]


def test_a_closed_output_is_no_place_for_a_picture(png: bytes) -> None:
    command = f"{sys.executable} -m gpuquant quantize - -k 4 >&-"
    done = subprocess.run(["bash", "-c", command], input=png, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"standard output, which is closed; name a file" in done.stderr


def test_palettes_come_from_pipes(png: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(png)
    code, out, _ = run(["palette", "-", "-k", 5, "--format", "hex"], monkeypatch, png)
    assert code == 0
    assert out == run(["palette", tmp_path / "a.png", "-k", 5, "--format", "hex"], monkeypatch, b"")[1]


@pytest.mark.parametrize(
    ("arguments", "data", "terminals", "code", "words"),
    [
        (["quantize", "-", "a.png"], b"", "", 1, "standard input is not an image: it is empty"),
        (["quantize", "-", "a.png"], b"words", "", 1, "standard input is not an image in a format"),
        (["quantize", "-", "a.png"], b"", "stdin", 2, "- is standard input, and nothing is sent there"),
        (["palette", "-"], b"", "stdin", 2, "- is standard input, and nothing is sent there"),
        (["quantize", "-"], b"", "stdout", 2, "a picture is not written to a terminal"),
        (["apply", "#000", "a.jpg", "-"], b"", "stdout", 2, "a picture is not written to a terminal"),
        (["palette", "-", "-"], b"", "", 2, "- is given twice"),
        (["bench", "-"], b"", "", 2, "name a file"),
        (["batch", "-", "-o", "out"], b"", "", 2, "name files and folders"),
    ],
)
def test_what_pipes_cannot_do_is_one_line(
    arguments: list[Any],
    data: bytes,
    terminals: str,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = run(arguments, monkeypatch, data, terminals=terminals)
    assert (found, out, err.count("\n")) == (code, b"", 1)
    assert words in err
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_photo_is_not_one_of_standard_output(
    png: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png[:-300])
    code, out, err = run(["quantize", tmp_path / "a.png", "-"], monkeypatch, b"")
    assert (code, out) == (1, b"")
    assert err.startswith(f"gpuquant: {tmp_path}/a.png: the image cannot be decoded: ")
    assert "standard output" not in err

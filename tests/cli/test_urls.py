"""Commands on photos at URLs, in this process."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image
from stores import SECRETS, Shelf, contents, put, shelf

import gpuquant

PHOTO, TARGET = f"shelf://me:{SECRETS[0]}@box/photo.png?key={SECRETS[1]}", f"shelf://me:{SECRETS[0]}@box/out.png"


@pytest.fixture(autouse=True)
def photo(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "photo.png"
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)).save(path)
    with shelf():
        for name in ("photo", "other"):
            put(f"shelf://box/{name}.png", path.read_bytes())
        yield path


def test_quantize(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["quantize", photo, tmp_path / "local.png", "-k", 4], monkeypatch, capsys)[0] == 0
    local = (tmp_path / "local.png").read_bytes()
    extras = [
        "--palette",
        "shelf://box/p.gpl",
        "--side-by-side",
        "shelf://box/both.jpg",
        "--error-map",
        "memory://e.png",
    ]
    for arguments, name in (
        ([], "photo-4-colors.png"),
        ([TARGET], "out.png"),
        ([TARGET, "--force", *extras], "out.png"),
    ):
        code, out, error = run(["quantize", PHOTO, *arguments, "-k", 4], monkeypatch, capsys)
        assert (code, error) == (0, "")
        assert f"wrote shelf://box/{name}\n" in out
        if "--error-map" not in arguments:  # which makes a photo be written as a whole, in one strip
            assert contents("shelf://box")[name] == local
        assert not any(secret in out for secret in SECRETS)
    assert {"p.gpl", "both.jpg"} < contents("shelf://box").keys()
    assert gpuquant.read_palette("shelf://box/p.gpl").hex == gpuquant.read_palette("shelf://box/out.png").hex
    code, out, _ = run(["quantize", PHOTO, "memory://j.png", "--json"], monkeypatch, capsys)
    assert json.loads(out)["written"] == ["memory://j.png"]


def test_a_photo_is_read_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Shelf.asked.clear()
    run(["quantize", PHOTO, "memory://a.png", "--side-by-side", "memory://b.png"], monkeypatch, capsys)
    assert [what for what, path in Shelf.asked if path == "/box/photo.png"] == ["info", "read"]


def test_palette_and_apply(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, local, _ = run(["palette", photo, photo, "-k", 3], monkeypatch, capsys)
    code, out, error = run(["palette", PHOTO, photo, "-k", 3, "-o", "memory://p.hex"], monkeypatch, capsys)
    assert (code, out, error) == (0, local, "wrote memory://p.hex\n")
    code, out, error = run(["apply", "memory://p.hex", PHOTO, "memory://applied.png"], monkeypatch, capsys)
    assert (code, error) == (0, "")
    (tmp_path / "p.hex").write_bytes(contents("memory://")["p.hex"])
    run(["apply", tmp_path / "p.hex", photo, tmp_path / "applied.png"], monkeypatch, capsys)
    assert contents("memory://")["applied.png"] == (tmp_path / "applied.png").read_bytes()


def test_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put("shelf://box/broken.jpg", b"not a photo")
    batch = ["batch", f"shelf://me:{SECRETS[0]}@box/", "-o", "memory://out", "-k", 4, "--log", tmp_path / "log"]
    code, out, error = run(batch, monkeypatch, capsys)
    assert code == 1
    assert "wrote memory://out/photo.png: 20 x 20, 4 colors" in out
    assert error == "gpuquant: shelf://box/broken.jpg: it is not an image in a format that Pillow can read\n"
    code, out, _ = run([*batch, "--skip-existing"], monkeypatch, capsys)
    assert "2 skipped, 1 failed" in out
    assert not any(secret in (tmp_path / "log").read_text() for secret in SECRETS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quantize", "shelf://me:hunter2@box/none.jpg"], "shelf://box/none.jpg: no such file"),
        (
            ["quantize", PHOTO, PHOTO, "--force"],
            "shelf://box/photo.png is also what is read; give what is written a name",
        ),
        (["quantize", PHOTO, "shelf://box/other.png"], "shelf://box/other.png exists; use --force to overwrite it"),
        (
            ["quantize", "https://host/a.jpg"],
            "https://host/a-8-colors.png: https:// can only be read; name another place",
        ),
        (["quantize", "nowhere://a.jpg", "out.png"], "nowhere://a.jpg: nowhere:// is no kind of URL that fsspec knows"),
        (["quantize", PHOTO, "shelf://box/a.bmp?x=hunter2"], "shelf://box/a.bmp: cannot write '.bmp'; use .png"),
        (["apply", "shelf://box/p.jpg?x=hunter2", PHOTO, "a.png"], "shelf://box/p.jpg: no palettes are in '.jpg'; use"),
        (["apply", "shelf://box/p.hex?x=hunter2", PHOTO, "memory://a.png"], "shelf://box/p.hex: no such file"),
        (
            ["quantize", f"simplecache::{PHOTO}", "a.png"],
            "a URL with something before it, or with '::' and another one",
        ),
        (["quantize", PHOTO, "a.png", PHOTO], "Got unexpected extra argument (shelf://box/photo.png)"),
        (
            ["quantize", PHOTO, "a.png", f"--dither={PHOTO}"],
            "Invalid value for '--dither': 'shelf://box/photo.png' is not",
        ),
        (
            ["quantize", PHOTO, "a.png", "--background", PHOTO],
            "--background 'shelf://box/photo.png' is not a color; use",
        ),
        (["apply", f"simplecache::{PHOTO}", PHOTO, "a.png"], "a URL with something before it"),
        (
            ["palette", "https://me:hun/hunter2@host/a.jpg"],
            "a URL, https://..., has a ':' without a port; a '/' in a pass",
        ),
        (
            ["palette", "shelf://box"],
            "shelf://box is a folder; name a photo in it, or take all of them with gpuquant batch",
        ),
        (
            ["batch", "shelf://box", "-o", "memory://o", "--log", "s3://b/l"],
            "the log is written line by line, which s3://b/l",
        ),
    ],
)
def test_errors(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, error = run(arguments, monkeypatch, capsys)
    assert code in (1, 2)
    assert error.startswith(f"gpuquant: {message}")
    assert error.count("\n") == 1
    assert not any(secret in out + error for secret in SECRETS)


def test_a_denied_write_is_found_before_work(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(what: str, _: str) -> None:
        if what == "write":
            raise PermissionError("Forbidden")

    Shelf.fault = denied
    code, _, error = run(["quantize", photo, TARGET], monkeypatch, capsys)
    assert (code, error) == (1, "gpuquant: shelf://box cannot be written: access is denied (Forbidden)\n")

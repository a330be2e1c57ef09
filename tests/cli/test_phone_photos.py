"""The way of somebody with a phone's photos: HEIC and JPEG in a folder, by the command line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpuquant.cli import app as cli
from gpuquant.images import heif as image_heif

PIXELS = np.random.RandomState(0).randint(0, 256, (6, 9, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
pytest.importorskip("pillow_heif")


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two HEIC photos, one of them turned, a JPEG, and what phones put beside them."""
    assert image_heif.register() is None
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "IMG_1.HEIC", "HEIF", quality=100)
    Image.fromarray(PIXELS).save(tmp_path / "IMG_2.heic", "HEIF", quality=100, exif=exif.tobytes())
    Image.fromarray(PIXELS).save(tmp_path / "IMG_3.jpg", quality=95)
    (tmp_path / "IMG_1.aae").write_text("<plist/>")
    (tmp_path / "IMG_3.MOV").write_bytes(bytes(9))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output = capsys.readouterr()
    return int(stop.value.code or 0), output.out, output.err


@pytest.mark.usefixtures("phone")
def test_one_photo_and_a_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("gpuquant quantize IMG_2.heic -k 8", monkeypatch, capsys)[0] == 0
    with Image.open("IMG_2-8-colors.png") as image:
        assert image.size == (48, 72)  # upright
    code, out, _ = run("gpuquant batch . -k 4 --suffix -4-colors", monkeypatch, capsys)
    assert code == 0
    made = {f"IMG_{number}-4-colors.png" for number in (1, 2, 3)}  # and not of the result before
    assert {path.name for path in Path().glob("*-4-colors.png")} == made
    assert "3 passed over: 1 .aae, 1 .mov, 1 result of gpuquant" in out
    assert run("gpuquant palette IMG_1.HEIC IMG_3.jpg -k 3", monkeypatch, capsys)[0] == 0


@pytest.mark.usefixtures("phone")
def test_without_what_reads_heic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    for ending in (".heic", ".heics", ".heif", ".heifs", ".hif"):
        monkeypatch.delitem(Image.EXTENSION, ending)
    code, _, err = run("gpuquant quantize IMG_1.HEIC", monkeypatch, capsys)
    assert (code, err) == (
        1,
        "gpuquant: IMG_1.HEIC is a HEIC photo, which needs another package: pip install 'gpuquant[heic]'\n",
    )
    code, out, _ = run("gpuquant batch . -o out", monkeypatch, capsys)
    assert code == 0
    assert "1 written; 4 passed over: 2 .heic (pip install 'gpuquant[heic]'), 1 .aae, 1 .mov" in out
    Path("IMG_3.jpg").unlink()
    code, _, err = run("gpuquant batch . -o again", monkeypatch, capsys)
    assert code == 2
    assert "4 passed over: 2 .heic (pip install 'gpuquant[heic]')" in err

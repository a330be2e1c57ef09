"""Files that are decoded in strips, by a budget that holds none of them: the results are those of quantize."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images import room, strips
from gpuquant.images.vips import library
from gpuquant.quantization import file_steps
from gpuquant.quantization.file import quantize_file
from gpuquant.quantization.recipes import apply_palette, extract_palette, quantize

pytestmark = pytest.mark.skipif(library() is None, reason="pyvips is not there")
FORMATS: dict[str, dict[str, Any]] = {
    "jpg": {"quality": 90},
    "png": {},
    "tif": {"compression": "tiff_adobe_deflate"},
    "plain.tif": {},
}


@pytest.fixture(autouse=True)
def no_room(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Strips of few rows, none of which is kept; and a list of how each photo was read."""
    seen: list[str] = []
    original = file_steps.count_file

    def spy(photo: Any, *given: Any, **settings: Any) -> Any:
        seen.append(photo.how)
        return original(photo, *given, **settings)

    monkeypatch.setattr(strips, "SMALL", 0)
    monkeypatch.setattr(file_steps.Budget, "rows", lambda self, width: 7)
    monkeypatch.setattr(file_steps.Budget, "kept", property(lambda self: 1000))
    monkeypatch.setattr("gpuquant.quantization.file.count_file", spy)
    return seen


def noise(*shape: int) -> Pixels:
    steps = np.random.default_rng(0).integers(-9, 10, shape).cumsum(axis=0)
    return (steps % 256).astype(np.uint8)


def saved(folder: Path, ending: str, pixels: Pixels, orientation: int = 1) -> Path:
    path, exif = folder / f"photo.{ending}", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, **FORMATS[ending])
    return path


def check(source: Path, target: Path, seen: list[str], **settings: Any) -> None:
    whole = apply_palette if "palette" in settings else quantize
    wanted, found = whole(source, **settings), quantize_file(source, target, memory=1, **settings)
    assert seen
    assert "read whole" not in seen
    assert found.palette.rgba.tolist() == wanted.palette.rgba.tolist()
    assert (found.mse, found.counts.tolist()) == (wanted.mse, np.asarray(wanted.counts).tolist())
    with Image.open(target) as image:
        mode = "RGB" if wanted.palette.alpha is None else "RGBA"
        np.testing.assert_array_equal(np.asarray(image.convert(mode)), wanted.to_array())
    assert sorted(path.name for path in target.parent.iterdir()) == sorted([source.name, target.name])


@pytest.mark.parametrize("shape", [(40, 31, 3), (40, 31), (1, 50, 3), (50, 1, 3), (29, 23, 3)])
@pytest.mark.parametrize("ending", FORMATS)
def test_every_format(tmp_path: Path, no_room: list[str], ending: str, shape: tuple[int, ...]) -> None:
    check(saved(tmp_path, ending, noise(*shape)), tmp_path / "out.png", no_room, n_colors=5)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientations(tmp_path: Path, no_room: list[str], ending: str, orientation: int) -> None:
    source = saved(tmp_path, ending, noise(40, 31, 3), orientation)
    check(source, tmp_path / "out.tif", no_room, n_colors=5, dither="floyd-steinberg")
    assert extract_palette(source, 5, memory=1).hex == quantize(source, 5).palette.hex


@pytest.mark.parametrize("dither", ["none", "floyd-steinberg", "blue-noise"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_alpha(tmp_path: Path, no_room: list[str], ending: str, dither: str) -> None:
    pixels = noise(40, 31, 4)
    pixels[:, :, 3] = np.where(pixels[:, :, 3] < 60, 0, 255)
    source = saved(tmp_path, ending, pixels)
    check(source, tmp_path / "out.png", no_room, n_colors=5, dither=dither)
    check(source, tmp_path / "out.png", no_room, palette="#000,#fff,#f00", dither=dither)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dither", ["none", "floyd-steinberg"])
def test_a_file_cut_off_in_its_last_strip(tmp_path: Path, ending: str, dither: str) -> None:
    source = saved(tmp_path, ending, noise(900, 31, 3))
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * 0.97)])
    with pytest.raises(ImageFileError):
        quantize_file(source, tmp_path / "out.png", 5, memory=1, dither=dither)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_what_does_not_fit_into_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SURELY", 0)
    monkeypatch.setattr(room, "free_memory", lambda: 5000)
    source = saved(tmp_path, "png", noise(40, 31, 3))
    for work in (quantize, lambda image: apply_palette(image, "#000,#fff"), lambda image: quantize(image.read_bytes())):
        with pytest.raises(ImageFileError, match=r"31 x 40 pixels take about 8\.68 KB.*5 KB.*quantize_file"):
            work(source)


def test_an_array_in_a_file_is_an_image(tmp_path: Path) -> None:
    np.save(tmp_path / "photo.npy", noise(40, 31, 3))
    np.testing.assert_array_equal(quantize(tmp_path / "photo.npy", 4).labels, quantize(noise(40, 31, 3), 4).labels)
    assert extract_palette(tmp_path / "photo.npy", 4).hex == quantize(noise(40, 31, 3), 4).palette.hex


def test_pictures_of_whole_photos_need_room(tmp_path: Path) -> None:
    source = saved(tmp_path, "png", noise(40, 31, 3))
    command = [sys.executable, "-m", "gpuquant", "quantize", source, tmp_path / "out.png"]
    command += ["--side-by-side", tmp_path / "both.png", "--memory", "5KB"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "31 x 40 pixels take about 8.68 KB" in done.stderr
    assert "--memory" in done.stderr
    assert len(list(tmp_path.iterdir())) == 1

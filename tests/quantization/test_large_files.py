"""Files that are decoded in strips, by a budget that holds none of them: the results are those of quantize."""

import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from image_files import swapped_profile
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images import room, strip_passes, strips
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


def other_kinds() -> dict[str, tuple[Image.Image, str, dict[str, Any]]]:
    pixels = noise(40, 31, 3)
    image, wide = Image.fromarray(pixels), Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    profile = {"icc_profile": swapped_profile().tobytes()}
    return {
        "CMYK as a JPEG": (image.convert("CMYK"), "jpg", {}),
        "CMYK as a TIFF": (image.convert("CMYK"), "tif", {}),
        "progressive JPEG": (image, "jpg", {"progressive": True}),
        "16 bits as a PNG": (wide, "png", {}),
        "16 bits as a TIFF": (wide, "tif", {"compression": "tiff_lzw"}),
        "gray with alpha": (Image.fromarray(noise(40, 31, 4)).convert("LA"), "png", {}),
        "palette": (image.quantize(20), "png", {}),
        "bits": (image.convert("1"), "tif", {"compression": "group4"}),
        "profile as a JPEG": (image, "jpg", profile),
        "profile as a PNG": (image, "png", profile),
        "profile as a TIFF": (image, "tif", profile),
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_other_kinds(tmp_path: Path, no_room: list[str], kind: str) -> None:
    image, ending, options = other_kinds()[kind]
    image.save(tmp_path / f"photo.{ending}", **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* reduced to 8")
        check(tmp_path / f"photo.{ending}", tmp_path / "out.png", no_room, n_colors=5)
    if "icc_profile" in options:
        (tmp_path / "out.png").unlink()
        check(tmp_path / f"photo.{ending}", tmp_path / "out.tif", no_room, n_colors=5, keep_profile=True)


def deflated_tiff(pixels: Pixels, n_across: int, n_rows: int, *, tiled: bool) -> tuple[bytes, int]:
    """A TIFF whose directory comes before its strips or tiles, and where the last of them begins."""
    height, width, _ = pixels.shape
    parts = [
        zlib.compress(np.ascontiguousarray(pixels[top : top + n_rows, left : left + n_across]).tobytes())
        for top in range(0, height, n_rows)
        for left in range(0, width, n_across)
    ]
    ends = np.cumsum([len(part) for part in parts])
    layout = {322: n_across, 323: n_rows} if tiled else {278: n_rows}
    tags = {256: [width], 257: [height], 258: [8, 8, 8], 259: [8], 262: [2], 277: [3]}
    tags |= {tag: [value] for tag, value in layout.items()}
    where, counts = (324, 325) if tiled else (273, 279)
    start = 8 + 2 + 12 * (len(tags) + 2) + 4 + 4 * 3 + 2 * 4 * len(parts)
    tags |= {where: [start + int(end) - len(part) for end, part in zip(ends, parts, strict=True)]}
    tags |= {counts: [len(part) for part in parts]}
    entries, outside, place = b"", b"", 8 + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}I", *values)
        if len(data) > 4:
            data, outside = struct.pack("<I", place + len(outside)), outside + data
        entries += struct.pack("<HHI", tag, 4, len(values)) + data
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + outside
    assert len(head) == start
    return head + b"".join(parts), start + int(ends[-1]) - len(parts[-1])


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
@pytest.mark.parametrize("dither", ["none", "floyd-steinberg"])
def test_a_tiff_cut_off_in_its_last_part(tmp_path: Path, no_room: list[str], dither: str, tiled: bool) -> None:
    source = tmp_path / "photo.tif"
    data, start = deflated_tiff(noise(192, 32, 3), 16 if tiled else 32, 16, tiled=tiled)
    source.write_bytes(data)
    check(source, tmp_path / "out.png", no_room, n_colors=5)
    (tmp_path / "out.png").unlink()
    source.write_bytes(data[: (start + len(data)) // 2])
    with pytest.raises(ImageFileError, match=r"^\S+photo\.tif: the image cannot be decoded"):
        quantize_file(source, tmp_path / "out.png", 5, memory=1, dither=dither)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_photo_that_is_turned_tells_how_much_of_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strip_passes, "PART_PIXELS", 31 * 10)
    told: list[tuple[str, float]] = []
    source = saved(tmp_path, "png", noise(40, 31, 3), 6)
    quantize_file(source, tmp_path / "out.png", 5, memory=1, progress=lambda stage, share: told.append((stage, share)))
    assert [share for stage, share in told if stage == "read"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [stage for stage, _ in told[:3]] == ["read", "count", "read"]

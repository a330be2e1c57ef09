"""quantize_files() with one palette for all files."""

from pathlib import Path

import numpy as np
import pytest
from commands import by_name
from PIL import Image

import gpuquant
from gpuquant import quantize, quantize_files
from gpuquant.errors import ArgumentError
from gpuquant.locations import Place
from gpuquant.palettes.files import read_palette


def test_one_palette_for_all(folder: Path, tmp_path: Path) -> None:
    photos = [folder / f"p{number}.png" for number in range(4)]
    counted: list[Place] = []
    given = [*photos, folder / "broken.jpg"]
    outcomes = by_name(quantize_files(given, tmp_path / "out", 7, shared_palette=True, counted=counted.append))
    pixels = np.concatenate([np.asarray(Image.open(photo).convert("RGB")).reshape(-1, 3) for photo in photos])
    expected = quantize(pixels[None], 7).palette
    assert read_palette(tmp_path / "out" / "palette.hex").hex == expected.hex
    assert set(counted) == set(photos)
    assert outcomes["broken.jpg"].status == "failed"
    for photo in photos:
        alone = gpuquant.apply_palette(photo, expected)
        with Image.open(tmp_path / "out" / photo.name) as image:
            np.testing.assert_array_equal(np.asarray(image), alone.labels)
        assert outcomes[photo.name].mse == alone.mse
    again = by_name(quantize_files(folder, tmp_path / "out", palette=expected, existing="overwrite"))
    assert again["p1.png"].mse == outcomes["p1.png"].mse
    assert again["clear.png"].n_colors == 8  # the clear pixels' entry


def test_stages_are_told(folder: Path, tmp_path: Path) -> None:
    photos = [folder / f"p{number}.png" for number in range(2)]
    for settings, expected in (
        ({}, ["write"]),
        ({"shared_palette": True, "existing": "overwrite"}, ["count", "cluster", "write"]),
        ({"shared_palette": True, "existing": "skip"}, ["write"]),
    ):
        stages: list[str] = []
        assert len(list(quantize_files(photos, tmp_path, 2, progress=stages.append, **settings))) == 2  # type: ignore[arg-type]
        assert stages == expected


def test_a_resumed_palette_is_that_of_all(folder: Path, tmp_path: Path) -> None:
    photos = [folder / f"p{number}.png" for number in range(3)]
    list(quantize_files(photos, tmp_path / "whole", 4, shared_palette=True))
    list(quantize_files(photos, tmp_path / "part", 4, shared_palette=True))
    (tmp_path / "part" / "p1.png").unlink()
    outcomes = by_name(quantize_files(photos, tmp_path / "part", 4, shared_palette=True, existing="skip"))
    assert [outcomes[photo.name].status for photo in photos] == ["skipped", "written", "skipped"]
    for name in ("palette.hex", "p1.png"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_opaque_palette_of_transparent_photos_is_resumed(folder: Path, tmp_path: Path) -> None:
    pixels = np.zeros((9, 9, 4), np.uint8)
    pixels[..., 3], pixels[0, 0, 3] = 255, 200  # opaque for the most part, so that its entry is
    photos = [folder / "x.png", folder / "y.png"]
    for photo in photos:
        Image.fromarray(pixels).save(photo)
    list(quantize_files(photos, tmp_path / "out", 1, shared_palette=True))
    (tmp_path / "out" / "y.png").unlink()
    outcomes = by_name(quantize_files(photos, tmp_path / "out", 1, shared_palette=True, existing="skip"))
    assert (outcomes["x.png"].status, outcomes["y.png"].status) == ("skipped", "written")


def test_a_shared_palette_is_not_lost_nor_mixed(folder: Path, tmp_path: Path) -> None:
    photos, out = [folder / f"p{number}.png" for number in range(4)], tmp_path / "out"
    out.mkdir()
    (out / "palette.hex").write_text("mine")
    with pytest.raises(ArgumentError, match=r"1 of 3 results exist already, such as .*palette\.hex"):
        quantize_files(photos[:2], out, 4, shared_palette=True)
    list(quantize_files(photos[:2], out, 4, shared_palette=True, existing="overwrite"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ArgumentError, match=r"palette\.hex, which results that exist have"):
        list(quantize_files(photos, out, 4, shared_palette=True, existing="skip"))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before

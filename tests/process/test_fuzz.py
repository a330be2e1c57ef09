"""A short run of scripts/fuzz.py, and what a long one found."""

import itertools
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import script
from PIL import Image

from gpuquant.images.reading import photo_of, read_photo


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    return script("fuzz")


def test_mutants_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    for name, data, reader in itertools.islice(fuzz.mutants(0), 1500):
        (tmp_path / name).write_bytes(data)
        fuzz.read(tmp_path / name, reader)


def test_the_files_to_begin_with_are_whole(fuzz: ModuleType, tmp_path: Path) -> None:
    cases = fuzz.cases()
    assert len(cases) > 25
    n_profiles = 0
    for name, data, reader in cases:
        (tmp_path / name).write_bytes(data)
        reader(tmp_path / name)
        if reader is not fuzz.read_palette:
            n_profiles += read_photo(tmp_path / name).to_srgb is not None
    assert n_profiles > 5
    data = cases[0][1]
    draws = random.Random(0)
    assert len({fuzz.mutated(data, draws) for _ in range(100)}) > 90


@pytest.mark.parametrize("second", [bytes(6), b"\xff" * 200, b""], ids=["no tags", "garbage", "nothing"])
def test_what_follows_the_first_picture_of_a_tiff_never_costs_it(
    second: bytes, fuzz: ModuleType, tmp_path: Path
) -> None:
    """Pillow raises errors of several kinds."""
    data = bytearray(fuzz.photos()["RGB.tif"])
    (tmp_path / "one.tif").write_bytes(data)
    start = int.from_bytes(data[4:8], "little")
    n_tags = int.from_bytes(data[start : start + 2], "little")
    link = start + 2 + 12 * n_tags
    data[link : link + 4] = len(data).to_bytes(4, "little")
    data += second
    (tmp_path / "two.tif").write_bytes(data)
    expected = read_photo(tmp_path / "one.tif")
    with Image.open(tmp_path / "two.tif") as image:
        for photo in (read_photo(tmp_path / "two.tif"), photo_of(image)):
            np.testing.assert_array_equal(photo.pixels, expected.pixels)
            assert photo.icc_profile == expected.icc_profile
            assert "the file is damaged: what follows its first picture cannot be read" in photo.notes

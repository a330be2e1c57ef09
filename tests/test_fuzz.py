"""A short run of scripts/fuzz.py, and what a long one found."""

import itertools
import random
from pathlib import Path
from types import ModuleType

import pytest
from conftest import script

from gpuquant import ImageFileError
from gpuquant.image_reading import read_photo


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


def test_a_tiff_whose_second_frame_lacks_its_size(fuzz: ModuleType, tmp_path: Path) -> None:
    """Pillow raises a TypeError."""
    data = bytearray(fuzz.photos()["RGB.tif"])
    start = int.from_bytes(data[4:8], "little")
    n_tags = int.from_bytes(data[start : start + 2], "little")
    link = start + 2 + 12 * n_tags
    data[link : link + 4] = len(data).to_bytes(4, "little")
    data += bytes(6)  # no tags, and no frame after it
    (tmp_path / "two.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match=r"two\.tif.* cannot be decoded: the file is damaged: "):
        read_photo(tmp_path / "two.tif")

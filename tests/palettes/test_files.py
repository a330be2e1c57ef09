"""Palettes in files: there and back in every format, and one line about what is wrong."""

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpuquant
from gpuquant.errors import ArgumentError, GpuquantError, ImageFileError
from gpuquant.palettes.files import palette_text, read_palette, write_palette
from gpuquant.palettes.formats import check_palette_format
from gpuquant.palettes.palette import Palette
from gpuquant.palettes.registry import FORMATS

ENDINGS = list(FORMATS)
WITH_ALPHA = [ending for ending, form in FORMATS.items() if form.holds_alpha]


def palette_of(n_entries: int, n_columns: int) -> Palette:
    rows = np.random.RandomState(n_entries).randint(0, 256, (n_entries, n_columns)).astype(np.uint8)
    rows[-1] = rows[0]  # twice there
    if n_columns == 4:
        rows[0, 3] = 7
    return Palette(rows[:, :3], rows[:, 3] if n_columns == 4 else None)


def short_names(palette: Palette) -> tuple[str, ...]:
    return ("red",) * len(palette)


@pytest.mark.parametrize("n_entries", [1, 2, 16, 255, 256, 257, 65_536])
@pytest.mark.parametrize(
    ("ending", "n_columns"), [*((ending, 3) for ending in ENDINGS), *((ending, 4) for ending in WITH_ALPHA)]
)
def test_there_and_back(
    ending: str, n_entries: int, n_columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if n_entries > 1000:
        monkeypatch.setattr(Palette, "names", short_names)  # finding so many takes seconds
    palette, path = palette_of(n_entries, n_columns), tmp_path / f"p{ending}"
    if ending == ".act" and n_entries > 256:
        with pytest.raises(ArgumentError, match="at most 256"):
            write_palette(palette, path)
        return
    write_palette(palette, path)
    assert read_palette(path).hex == palette.hex
    assert list(tmp_path.iterdir()) == [path]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(st.tuples(*[st.integers(0, 255)] * 3, st.sampled_from([0, 1, 128, 254, 255])), min_size=1))
@pytest.mark.parametrize("ending", WITH_ALPHA)
def test_any_entries_come_back(ending: str, rows: list[tuple[int, ...]], tmp_path: Path) -> None:
    entries = np.array(rows, np.uint8)
    write_palette(Palette(entries[:, :3], entries[:, 3]), tmp_path / f"p{ending}")
    found = read_palette(tmp_path / f"p{ending}")
    np.testing.assert_array_equal(found.rgba, entries)
    assert (found.alpha is None) == bool((entries[:, 3] == 255).all())


@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files_are_errors_of_ours_or_palettes(ending: str, tmp_path: Path) -> None:
    chance, path = random.Random(ending), tmp_path / f"p{ending}"
    wholes = []
    for n_entries in (1, 40, 300):
        if ending != ".act" or n_entries <= 256:
            write_palette(palette_of(n_entries, 3), path)
            wholes.append(path.read_bytes())
    for _ in range(300):
        data = bytearray(chance.choice(wholes))
        for _ in range(chance.choice([0, 1, 1, 3, 20])):
            data[min(int(chance.expovariate(0.02)), len(data) - 1)] = chance.randrange(256)
        if chance.random() < 0.5:
            del data[chance.randrange(len(data)) :]
        if chance.random() < 0.3:
            place = chance.randrange(len(data) + 1)
            data[place:place] = chance.randbytes(chance.randrange(1, 30))
        path.write_bytes(data)
        message = str(path)
        try:
            assert 1 <= len(read_palette(path)) <= 65_536
        except GpuquantError as error:
            message = str(error)
        assert message.count(str(path)) == 1
        assert "\n" not in message


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != ".png"])
def test_files_that_are_too_large(ending: str, tmp_path: Path) -> None:
    with (tmp_path / f"p{ending}").open("wb") as file:
        file.truncate(1 << 40)  # without using the disk
    with pytest.raises(ImageFileError, match="more than 8388608 bytes"):
        read_palette(tmp_path / f"p{ending}")


def test_too_many_colors(tmp_path: Path) -> None:
    (tmp_path / "p.hex").write_bytes(b"#ff8000\n" * 65_537)
    with pytest.raises(ImageFileError, match="holds 65537 colors"):
        read_palette(tmp_path / "p.hex")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_file(ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"folder{ending}").mkdir()
    for name, words in (("none", "no such file"), ("pipe", "not a regular file"), ("folder", "not a regular file")):
        with pytest.raises(ImageFileError, match=words):
            read_palette(tmp_path / f"{name}{ending}")
    with pytest.raises(ImageFileError, match="cannot be written"):
        write_palette(palette_of(2, 3), tmp_path / f"folder{ending}")


@pytest.mark.parametrize("name", ["p.pal", "palette", ".hex", "p.png.gz"])
def test_unknown_endings(name: str, tmp_path: Path) -> None:
    for call in (check_palette_format, read_palette, lambda path: write_palette(palette_of(2, 3), path)):
        with pytest.raises(ArgumentError, match=r"use \.hex, \.gpl, .* or \."):
            call(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_palette(tmp_path: Path) -> None:
    write_palette([(0, 0, 0), "white"], tmp_path / "p.hex")
    assert (tmp_path / "p.hex").read_text() == "#000000\n#ffffff\n"
    with pytest.raises(ArgumentError, match="got int"):
        write_palette(3, tmp_path / "p.hex")  # type: ignore[arg-type]
    for n_entries in (0, 65_537):
        with pytest.raises(ArgumentError, match=f"from 1 to 65536 entries, not {n_entries}"):
            write_palette(Palette(np.zeros((n_entries, 3), np.uint8)), tmp_path / "p.hex")
    assert gpuquant.read_palette is read_palette


@pytest.mark.parametrize("n_entries", [1, 7, 256])
@pytest.mark.parametrize("ending", [".json", ".css"])
def test_shares_there_and_back(ending: str, n_entries: int, tmp_path: Path) -> None:
    path, palette = tmp_path / f"p{ending}", palette_of(n_entries, 3)
    write_palette(palette, path)
    assert read_palette(path).shares is None
    counts = np.random.RandomState(0).randint(1, 1000, n_entries)
    write_palette(Palette(palette, shares=counts / counts.sum()), path)
    found = read_palette(path)
    assert found.hex == palette.hex
    np.testing.assert_allclose(
        np.asarray(found.shares), counts / counts.sum(), atol=5e-5 if ending == ".css" else 0, rtol=1e-12
    )


def test_shares_that_a_comment_is_too_coarse_for(tmp_path: Path) -> None:
    equal = Palette(np.zeros((4096, 3), np.uint8), shares=np.full(4096, 1 / 4096))
    write_palette(equal, tmp_path / "p.css")
    assert "0.02 %" in (tmp_path / "p.css").read_text()  # 81.92 % in all
    assert read_palette(tmp_path / "p.css").shares is None


def test_prefixes(tmp_path: Path) -> None:
    palette = palette_of(3, 3)
    for prefix in ("brand", "9", "-a_B", "p" * 40):
        write_palette(palette, tmp_path / "p.css", prefix=prefix)
        text = (tmp_path / "p.css").read_text()
        assert re.findall(r"--(.+)-\d+: #", text) == [prefix] * 3
        assert text == palette_text(palette, ".css", prefix)
        assert read_palette(tmp_path / "p.css").hex == palette.hex
    for wrong in ("", "a b", "a:b", "é", "p" * 41, "*/", "a\n", 7):
        with pytest.raises(ArgumentError, match='letters, digits, "-" and "_", such as "brand"'):
            write_palette(palette, tmp_path / "q.css", prefix=wrong)  # type: ignore[arg-type]
    for ending in ENDINGS:
        if ending != ".css":
            with pytest.raises(ArgumentError, match=r"prefix='brand' is for variables, which are in \.css alone"):
                write_palette(palette, tmp_path / f"q{ending}", prefix="brand")
    assert list(tmp_path.iterdir()) == [tmp_path / "p.css"]


def test_the_largest_files_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Palette, "names", lambda palette: ("an unusually long name of one color",) * len(palette))
    counts = np.random.RandomState(0).randint(1, 1000, 65_536)
    palette = Palette(palette_of(65_536, 4), shares=counts / counts.sum())
    write_palette(palette, tmp_path / "p.json")
    assert read_palette(tmp_path / "p.json").hex == palette.hex
    write_palette(palette, tmp_path / "p.css", prefix="p" * 40)
    assert read_palette(tmp_path / "p.css").hex == palette.hex


def test_a_path_is_asked_for() -> None:
    with pytest.raises(ArgumentError, match="path must be the path of a palette, got int"):
        read_palette(3)  # type: ignore[arg-type]

"""Raw photos are known by their tags, and plain TIFFs are read."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import run
from image_files import tiff

import gpuquant
from gpuquant.errors import ImageFileError
from gpuquant.images.directories import DirectoryFile
from gpuquant.images.reading import read_photo, read_size

RGB = bytes([1, 2, 3, 4, 5, 6])


def with_directories(tags: dict[int, int], *below: dict[int, int], chained: bool = False) -> bytes:
    """A small RGB TIFF with further tags, LONG each, and directories below it, or behind it."""
    more: dict[int, tuple[int, tuple[int, ...]]] = {tag: (4, (value,)) for tag, value in tags.items()}
    data = bytearray(tiff(RGB, 2, 1, more, bits=(8, 8, 8), photometric=2))
    places = []
    for entries in below:
        places.append(len(data))
        data += struct.pack("<H", len(entries))
        for tag, value in sorted(entries.items()):
            data += struct.pack("<HHII", tag, 4, 1, value)
        data += bytes(4)
    if below and chained:
        start = struct.unpack_from("<I", data, 4)[0]
        n_tags = struct.unpack_from("<H", data, start)[0]
        struct.pack_into("<I", data, start + 2 + 12 * n_tags, places[0])
    elif below:
        data = bytearray(tiff(RGB, 2, 1, more | {330: (4, (0,) * len(below))}, bits=(8, 8, 8), photometric=2))
        base = len(data)
        shift = base - places[0]
        for entries in below:
            data += struct.pack("<H", len(entries))
            for tag, value in sorted(entries.items()):
                data += struct.pack("<HHII", tag, 4, 1, value)
            data += bytes(4)
        moved = [place + shift for place in places]
        entry = data.index(struct.pack("<HHI", 330, 4, len(below)), struct.unpack_from("<I", data, 4)[0])
        start = entry + 8 if len(below) == 1 else struct.unpack_from("<I", data, entry + 8)[0]
        struct.pack_into(f"<{len(below)}I", data, start, *moved)
    return bytes(data)


FULL = {254: 0, 256: 4000, 257: 3000}
RAW = {
    "DNG": with_directories({254: 1, 50706: 0x04010000}),
    "NEF": with_directories({254: 1}, {254: 1, 256: 90, 257: 60, 262: 6}, {**FULL, 262: 32803}),
    "ARW": with_directories({254: 1}, {**FULL, 262: 32803}),
    "linear": with_directories({254: 1}, {**FULL, 262: 34892}),
    "chained": with_directories({254: 0}, {**FULL, 262: 32803}, chained=True),
    "CR2": RGB,
}
RAW["CR2"] = RAW["chained"][:8] + b"CR\x02\0" + RAW["chained"][12:]


@pytest.mark.parametrize("kind", RAW)
def test_raw_photos_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "renamed.tif"
    path.write_bytes(RAW[kind])
    with pytest.raises(ImageFileError, match=r"renamed\.tif: this is a raw photo, .* preview of 2 x 1.*--preview"):
        read_photo(path)


@pytest.mark.parametrize("kind", sorted(set(RAW) - {"chained", "CR2"}))
def test_the_preview_can_be_asked_for(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "raw.dng"
    path.write_bytes(RAW[kind])
    photo = read_photo(path, preview=True)
    assert photo.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert photo.notes == ("this is a raw photo; only its preview of 2 x 1 is read",)
    assert read_size(path) == (2, 1)


def test_a_smaller_copy_in_front_is_no_photo(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(with_directories({254: 1}, {**FULL, 262: 2}))
    with pytest.raises(ImageFileError, match="begins with a smaller copy of its picture"):
        read_photo(path)
    assert read_photo(path, preview=True).pixels.shape == (1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        with_directories({254: 0}, {254: 1, 256: 1, 257: 1, 262: 2}),  # a pyramid
        with_directories({}, {254: 1, 256: 1, 257: 1, 262: 2}),
        with_directories({254: 2}),  # a page
        with_directories({254: 1}),  # the only picture
        with_directories({254: 1}, {254: 1, 256: 1, 257: 1, 262: 2}),
        with_directories({254: 1, 330: 0xFFFFFFF0}),
    ],
)
def test_plain_files_are_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    photo = read_photo(tmp_path / "a.tif")
    assert (photo.pixels.tolist(), photo.notes) == ([[[1, 2, 3], [4, 5, 6]]], ())


@pytest.mark.parametrize(
    "head", [b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0\0\0\1", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0"]
)
def test_raw_photos_that_pillow_does_not_know(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.raf").write_bytes(head.ljust(200, b"\0"))
    for read in (read_photo, read_size):
        with pytest.raises(ImageFileError, match="is a raw photo; develop it first"):
            read(tmp_path / "a.raf")


def test_directories_are_followed_within_bounds(tmp_path: Path) -> None:
    """One that is its own next, one below itself, and tags that all name the same bytes."""
    data = bytearray(with_directories({254: 0, 330: 8}))
    start = struct.unpack_from("<I", data, 4)[0]
    n_tags = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * n_tags, start)
    (tmp_path / "a.tif").write_bytes(data)
    assert read_photo(tmp_path / "a.tif").pixels.shape == (1, 2, 3)
    entries = b"".join(struct.pack("<HHII", tag, 1, 390_000, 8) for tag in range(40_000, 44_000))
    (tmp_path / "b.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entries + bytes(400_000))
    with pytest.raises(ImageFileError):
        read_photo(tmp_path / "b.tif")


def test_every_recipe_takes_the_preview(tmp_path: Path) -> None:
    path, palette = tmp_path / "raw.dng", gpuquant.Palette(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    path.write_bytes(RAW["NEF"])
    recipes: list[Callable[[bool], object]] = [
        lambda preview: gpuquant.quantize(path, 2, preview=preview),
        lambda preview: gpuquant.apply_palette(path, palette, preview=preview),
        lambda preview: gpuquant.extract_palette([path], 2, preview=preview),
    ]
    for recipe in recipes:
        with pytest.raises(ImageFileError, match="raw photo"):
            recipe(False)
        with pytest.warns(UserWarning, match="only its preview of 2 x 1 is read"):
            recipe(True)
    for preview, status in ((False, "failed"), (True, "written")):
        (outcome,) = gpuquant.quantize_files(path, tmp_path / status, 2, preview=preview)
        assert outcome.status == status
        assert "raw photo" in " ".join([*outcome.warnings, outcome.error or ""])


@pytest.mark.parametrize("command", ["quantize", "apply", "palette", "batch"])
def test_every_command_takes_the_preview(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = str(tmp_path / "raw.tif"), str(tmp_path / "out.png")
    Path(path).write_bytes(RAW["DNG"])
    (tmp_path / "two.hex").write_text("010203\n040506\n")
    arguments = {
        "quantize": [path, out, "-k", "2", "--side-by-side", str(tmp_path / "both.png")],
        "apply": [str(tmp_path / "two.hex"), path, out],
        "palette": [path, "-k", "2"],
        "batch": [path, "-o", str(tmp_path / "out"), "-k", "2"],
    }[command]
    for more, code in (([], 1), (["--preview"], 0)):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            done, _, error = run([command, *arguments, *more], monkeypatch, capsys)
        assert done == code
        assert "raw photo" in error


def test_no_more_than_some_megabytes_of_tags_are_read() -> None:
    class Counting(io.BytesIO):
        n_read = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.n_read += len(data)
            return data

    entries = b"".join(struct.pack("<HHII", tag, 1, 390_000, 8) for tag in range(40_000, 44_000))
    file = Counting(b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entries + bytes(400_000))
    assert not DirectoryFile(file).chain()[0].whole
    assert 0 < file.n_read < 5_000_000  # of 1560

"""Results say what they were made with, in a place that each format has for it; and what files say is not trusted."""

import dataclasses
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

import gpuquant
from gpuquant import apply_palette, quantize, quantize_files
from gpuquant.errors import ArgumentError
from gpuquant.images.note import MOST_BYTES, read_options
from gpuquant.quantization.options import ABSENT, difference, options_text

INKS = gpuquant.Palette(np.array([[0, 0, 0], [255, 255, 255], [200, 0, 0]], np.uint8))


def result(n_colors: int, *, alpha: bool = False) -> gpuquant.QuantizedImage:
    pixels = np.random.RandomState(0).randint(0, 256, (20, 31, 4 if alpha else 3), np.uint8)
    if alpha:
        pixels[..., 3] = np.where(pixels[..., 3] < 128, 0, 255)
    return quantize(pixels, n_colors)


def as_pillow_says(path: Path) -> str:
    """The note, by another reader."""
    with Image.open(path) as image:
        if path.suffix == ".png":
            return str(image.text["gpuquant"])  # type: ignore[attr-defined]
        said = image.tag_v2[270] if path.suffix == ".tif" else image.info["comment"].decode()  # type: ignore[attr-defined]
    word, _, note = said.partition(" ")
    assert word == "gpuquant"
    return str(note)


@pytest.mark.parametrize("ending", ["png", "tif", "gif"])
@pytest.mark.parametrize(
    ("n_colors", "alpha"), [(2, False), (4, False), (16, False), (200, False), (300, False), (9, True)]
)
def test_a_file_says_it_and_is_the_same_otherwise(n_colors: int, alpha: bool, ending: str, tmp_path: Path) -> None:
    found, path = result(n_colors, alpha=alpha), tmp_path / f"a.{ending}"
    if n_colors > 256 and ending == "gif":
        return
    found.save(path)
    assert found.options is not None
    assert found.options["n_colors"] == n_colors
    assert read_options(path) == found.options == json.loads(as_pillow_says(path))
    plain = io.BytesIO()
    dataclasses.replace(found, options=None).save(plain, format=ending)
    with Image.open(path) as image, Image.open(plain) as other:
        assert (image.mode, image.size) == (other.mode, other.size)
        assert image.tobytes() == other.tobytes()
        assert image.getpalette() == other.getpalette()
    if ending == "png":
        text = b"gpuquant\0" + options_text(found.options).encode()
        chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
        assert path.read_bytes().replace(chunk, b"") == plain.getvalue()
    (tmp_path / "plain").write_bytes(plain.getvalue())
    assert read_options(tmp_path / "plain") is None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"effort": "best"},
        {"color_space": "oklab"},
        {"weighting": 0.5},
        {"random_state": 1},
        {"background": "#ff8000"},
        {"keep_profile": True},
        {"preview": True},
        {"dither": "bayer"},
        {"dither": "bayer", "dither_strength": 0.5},
        {"target_psnr": 30.0, "n_colors": None},
    ],
)
def test_all_recipes_say_the_same(settings: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(tmp_path / "secret-name.png")
    given = {"n_colors": 4} | settings
    alone = quantize(tmp_path / "secret-name.png", **given)
    assert [one.status for one in quantize_files(tmp_path / "secret-name.png", tmp_path / "out", **given)] == [
        "written"
    ]
    assert read_options(tmp_path / "out" / "secret-name.png") == alone.options
    assert "secret" not in options_text(alone.options or {})
    plain = quantize(tmp_path / "secret-name.png", 4).options or {}
    expected = {name: value for name, value in given.items() if value is not None}
    assert expected.items() <= (alone.options or {}).items()
    assert (difference(alone.options or {}, plain) is None) == (not settings)


def test_numbers_of_numpy_are_written(tmp_path: Path) -> None:
    """They are written as numbers of Python: the notes are the same."""
    photo = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    given = {
        "effort": (np.str_, "fast"),
        "color_space": (np.str_, "oklab"),
        "weighting": (np.float32, 0.5),
        "random_state": (np.uint32, 7),
        "init": (np.str_, "random"),
        "n_init": (np.int8, 2),
        "max_iter": (np.int64, 20),
        "tol": (np.float64, 1e-3),
        "keep_profile": (np.bool_, True),
        "preview": (np.bool_, True),
        "dither": (np.str_, "bayer"),
        "dither_strength": (np.float16, 0.25),
    }
    wanted: dict[str, tuple[Any, Any]]
    for wanted in ({"n_colors": (np.int64, 3)}, {"target_psnr": (np.float32, 12.0)}):
        plain: dict[str, Any] = {name: value for name, (_, value) in (given | wanted).items()}
        found = quantize(photo, **{name: kind(value) for name, (kind, value) in (given | wanted).items()})
        found.save(tmp_path / "a.png")
        assert read_options(tmp_path / "a.png") == found.options == quantize(photo, **plain).options
        assert {type(value) for value in (found.options or {}).values()} <= {int, float, bool, str}
        assert plain.items() <= (found.options or {}).items()
    levels = np.array([1, 2, 3], np.uint8)
    applied = apply_palette(photo, INKS, preview=np.True_, background=tuple(levels), dither=np.str_("bayer"))  # type: ignore[arg-type]
    applied.save(tmp_path / "b.png")
    assert (read_options(tmp_path / "b.png") or {})["background"] == "#010203"


def test_options_that_an_older_file_does_not_know() -> None:
    """They mean what was done before there was such an option."""
    ours = quantize(np.arange(30, dtype=np.uint8)[None], 2).options or {}
    assert ABSENT.items() <= ours.items()
    for name in ours:
        older = {key: value for key, value in ours.items() if key != name}
        assert (difference(older, ours) is None) == (difference(ours, older) is None) == (name != "n_colors")
        changed = ours | {name: "other"}
        assert (difference(older, changed) is None) == (name == "gpuquant")
    assert difference({"n_colors": 2}, ours | {"dither": "bayer"}) == "without dither, not dither='bayer'"


def test_what_changes_no_picture_is_not_said(tmp_path: Path) -> None:
    photo = np.arange(30, dtype=np.uint8)[None]
    expected = quantize(photo, 2, dither="none").options
    assert quantize(photo, 2, device="cpu", chunk_size=7, max_pixels=99, dither_strength=0.5).options == expected
    assert quantize(photo, 2, dither="bayer", dither_strength=0).options == expected


def test_centers_and_palettes_are_digests() -> None:
    photo = np.arange(30, dtype=np.uint8)[None]
    starts = [np.array([[0, 0, 0], [9, 9, level]]) for level in (9, 9, 8)]
    same, again, other = (quantize(photo, 2, init=start).options for start in starts)
    assert same == again != other
    assert "init='sha256 " in str(difference(same or {}, other or {}))
    opaque = gpuquant.Palette(INKS.colors, np.full(3, 255, np.uint8))
    assert apply_palette(photo, INKS).options == apply_palette(photo, opaque).options
    assert str((apply_palette(photo, INKS).options or {})["palette"]).startswith("3 colors, sha256 ")
    fewer = gpuquant.Palette(INKS.colors[:2])
    assert apply_palette(photo, INKS).options != apply_palette(photo, fewer).options


def test_a_shared_palette_is_said_as_a_given_one_is(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(np.arange(30, dtype=np.uint8)[None] * 3).save(tmp_path / f"{name}.png")
    photos, out = [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out"
    for dither in ("none", "bayer"):
        list(quantize_files(photos, out, 3, shared_palette=True, dither=dither, existing="overwrite"))
        applied = apply_palette(photos[0], gpuquant.read_palette(out / "palette.hex"), dither=dither)
        found = read_options(out / "a.png") or {}
        assert found == read_options(out / "b.png")
        words = difference(found, applied.options or {})  # a shared palette is dithered as the photo's own
        assert words == (None if dither == "none" else "shared_palette=True, not shared_palette=False")


def test_differences_are_named() -> None:
    ours = {"gpuquant": "1", "n_colors": 16, "effort": "default"}
    assert difference(ours | {"gpuquant": "0.9"}, ours) is None
    assert difference(ours | {"n_colors": 4}, ours) == "n_colors=4, not n_colors=16"
    assert difference({"target_psnr": 36.0, "effort": "default"}, ours) == "target_psnr=36.0, not n_colors=16"
    assert difference(ours, ours | {"background": "#ffffff"}) == "without background, not background='#ffffff'"
    hostile = difference(ours | {"\x1b[2J": "\x1b]0;\u202e", "n_colors": "9" * 5000}, ours) or ""
    assert hostile.isascii()
    assert hostile.isprintable()
    assert len(hostile) < 300


@pytest.mark.parametrize("options", [{"a": np.arange(3)}, {"a": float("nan")}, {"a": "x" * MOST_BYTES}, [1], {1: {2}}])
def test_options_that_cannot_be_written(options: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="options must be"):
        dataclasses.replace(result(2), options=options).save(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def noted(note: bytes) -> dict[str, bytes]:
    """Files with some note, as another program could write them."""
    head = b"\x89PNG\r\n\x1a\n"
    text = b"gpuquant\0" + note
    tag = struct.pack("<HHII", 270, 2, len(note) + 10, 26)
    parts = [(b"gpuquant " + note)[start : start + 255] for start in range(0, len(note) + 9, 255)]
    blocks = b"".join(bytes([len(part)]) + part for part in parts)
    return {
        "png": head + struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text)),
        "tif": b"II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4) + b"gpuquant " + note + b"\0",
        "gif": b"GIF89a" + bytes(7) + b"!\xfe" + blocks + b"\0;",
    }


@pytest.mark.parametrize("ending", ["png", "tif", "gif"])
def test_notes_that_are_none_of_ours(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(noted(b'{"n_colors": 3}')[ending])
    assert read_options(path) == {"n_colors": 3}
    notes = (
        b"",
        b"null",
        b"[1]",
        b'"x"',
        b"{",
        b"[" * 9000,
        b"1" * 9000,
        b'{"a": \xff}',
        b"\0",
        b'{"a": "%s"}' % bytes(65 for _ in range(MOST_BYTES)),
    )
    for note in notes:
        path.write_bytes(noted(note)[ending])
        assert read_options(path) is None


@pytest.mark.parametrize("ending", ["png", "tif", "gif"])
def test_damage_is_no_error(ending: str, tmp_path: Path) -> None:
    result(4).save(tmp_path / f"a.{ending}")
    whole, path = (tmp_path / f"a.{ending}").read_bytes(), tmp_path / "damaged"
    random = np.random.RandomState(0)
    found = 0
    for number in range(300):
        data = bytearray(whole[: random.randint(len(whole)) if number % 2 else len(whole)])
        for place in random.randint(0, max(1, len(data)), 4):
            data[place : place + 1] = random.bytes(1)
        path.write_bytes(data)
        options = read_options(path)
        assert options is None or isinstance(options, dict)
        found += options is not None
    assert 0 < found < 300


def test_a_bit_that_fell_over_in_a_png(tmp_path: Path) -> None:
    result(4).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes().replace(b'"n_colors": 4', b'"n_colors": 5'))
    assert read_options(tmp_path / "a.png") is None


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "missing.png", tmp_path / "pipe.png", "a\0b.png"):
        assert read_options(path) is None


def test_a_photo_says_nothing(china: Pixels, tmp_path: Path) -> None:
    for ending in ("png", "tif", "gif", "jpg"):
        Image.fromarray(china).save(tmp_path / f"a.{ending}")
        assert read_options(tmp_path / f"a.{ending}") is None

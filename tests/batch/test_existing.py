"""Results that are there already: kept, made anew, or a reason to stop, by what they say they were made with."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import by_name
from PIL import Image

import gpuquant
from gpuquant import quantize_files
from gpuquant.errors import ArgumentError
from gpuquant.images.note import is_whole, read_options
from gpuquant.quantization import options


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    (tmp_path / "photos").mkdir()
    found = [tmp_path / "photos" / f"p{number}.png" for number in range(4)]
    for number, photo in enumerate(found):
        Image.fromarray((np.arange(192, dtype=np.uint8) + number).reshape(8, 8, 3)).save(photo)
    return found


def statuses(photos: list[Path], out: Path, n_colors: int | None, **settings: Any) -> str:
    """The first letters of the outcomes, in order of the photos."""
    outcomes = by_name(quantize_files(photos, out, n_colors, **settings))
    return "".join(outcomes[photo.name].status[0] for photo in photos)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("image_format", ["png", "tif", "gif"])
def test_other_options_stop_what_would_mix_them(photos: list[Path], tmp_path: Path, image_format: str) -> None:
    out = tmp_path / "out"
    assert statuses(photos[:2], out, 4, image_format=image_format) == "ww"
    before = contents(out)
    words = f"2 of 2 results that exist were made with other options: {out}/p0.{image_format} was made with "
    words += "n_colors=4, not n_colors=16; write those anew with existing='update' (--skip-existing --force), or "
    with pytest.raises(ArgumentError, match=re.escape(words)):
        quantize_files(photos, out, 16, image_format=image_format, existing="skip")
    assert contents(out) == before
    assert statuses(photos[:3], out, 4, image_format=image_format, existing="skip") == "ssw"
    assert statuses(photos[2:], out, 16, image_format=image_format, existing="update") == "ww"
    assert statuses(photos, out, 16, image_format=image_format, existing="update") == "wwss"
    assert {(read_options(path) or {})["n_colors"] for path in out.iterdir()} == {16}


def test_another_version_is_no_difference(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "__version__", "0.0.1")
    statuses(photos, tmp_path / "out", 4)
    monkeypatch.undo()
    assert (read_options(tmp_path / "out" / "p0.png") or {})["gpuquant"] == "0.0.1"
    assert statuses(photos, tmp_path / "out", 4, existing="skip") == "ssss"


def test_results_that_say_nothing(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    statuses(photos[:3], out, 4)
    for name in ("p0.png", "p1.png"):
        with Image.open(out / name) as image:
            image.save(out / name)  # as another program does
    note = "2 of 3 results do not say what they were made with; they are taken as they are"
    with pytest.warns(UserWarning, match=f"^{note}$"):
        assert statuses(photos, out, 4, existing="skip") == "sssw"
    assert statuses(photos, out, 4, existing="update") == "wwss"
    assert statuses(photos, out, 4, existing="skip") == "ssss"


def test_a_given_palette_is_an_option(photos: list[Path], tmp_path: Path) -> None:
    inks = gpuquant.Palette(np.array([[0, 0, 0], [255, 255, 255]], np.uint8))
    other = gpuquant.Palette(np.array([[0, 0, 0], [255, 255, 254]], np.uint8))
    assert statuses(photos[:2], tmp_path / "out", None, palette=inks) == "ww"
    assert statuses(photos[:3], tmp_path / "out", None, palette=inks, existing="skip") == "ssw"
    for settings in ({"palette": other}, {}, {"palette": inks, "dither": "bayer"}):
        with pytest.raises(ArgumentError, match=r"p0\.png was made with (palette|dither)="):
            quantize_files(photos, tmp_path / "out", existing="skip", **settings)


def test_a_shared_palette_and_what_has_another_one(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert statuses(photos[:3], out, 4, shared_palette=True) == "www"
    assert statuses(photos[:3], out, 4, shared_palette=True, existing="update") == "sss"
    (out / "p1.png").unlink()
    assert statuses(photos[:3], out, 4, shared_palette=True, existing="update") == "sws"
    kept = gpuquant.read_palette(out / "palette.hex")
    assert statuses(photos[:2], out, None, palette=kept, existing="skip") == "ss"  # it is the same one
    assert statuses(photos, out, 3, shared_palette=True, existing="update") == "wwww"
    palettes = {str((read_options(path) or {})["palette"]) for path in out.glob("*.png")}
    assert len(palettes) == 1
    assert palettes.pop().startswith("3 colors, ")
    statuses(photos[:1], out, 3, existing="overwrite")  # of its own
    with pytest.raises(
        ArgumentError, match=r"1 of 4 results that exist .*p0\.png was made with shared_palette=False, "
    ):
        quantize_files(photos, out, 3, shared_palette=True, existing="skip")
    assert statuses(photos, out, 3, shared_palette=True, existing="update") == "wsss"
    (out / "palette.hex").unlink()
    assert statuses(photos, out, 3, shared_palette=True, existing="skip") == "ssss"
    assert statuses(photos, out, 3, shared_palette=True, existing="update") == "wwww"
    assert (out / "palette.hex").exists()


@pytest.mark.parametrize(
    "other",
    [
        {"n_colors": 3},
        {"n_colors": None, "target_psnr": 20.0},
        {"effort": "fast"},
        {"color_space": "oklab"},
        {"weighting": 0.5},
        {"random_state": 1},
        {"shared_palette": False},
    ],
)
@pytest.mark.parametrize("n_there", [2, 4])
def test_a_shared_palette_of_another_search(
    photos: list[Path], tmp_path: Path, n_there: int, other: dict[str, Any]
) -> None:
    """It is told before any work, and made anew."""
    out, stages = tmp_path / "out", list[str]()
    list(quantize_files(photos[:n_there], out, 4, shared_palette=True))
    before = contents(out)
    wanted: dict[str, Any] = {"n_colors": 4, "shared_palette": True} | other
    name = list(other)[-1]
    words = rf"{n_there} of {n_there} results that exist were made with other options: .* not .*{name}={other[name]!r}"
    with pytest.raises(ArgumentError, match=words):
        quantize_files(photos, out, existing="skip", progress=stages.append, **wanted)
    assert (contents(out), stages) == (before, [])
    assert statuses(photos[:n_there], out, existing="update", **wanted) == "w" * n_there
    assert statuses(photos[:n_there], out, existing="skip", **wanted) == "s" * n_there


def test_a_palette_that_was_shared_is_applied_to_more(photos: list[Path], tmp_path: Path) -> None:
    """Results that have it are kept, however it was found; those of a given one are not taken for those of a search."""
    out = tmp_path / "out"
    assert statuses(photos[:2], out, 3, shared_palette=True, color_space="oklab") == "ww"
    with pytest.raises(ArgumentError, match=r"existing='update' .* or apply theirs .* with palette=$"):
        list(quantize_files(photos, out, 3, shared_palette=True, color_space="oklab", existing="skip"))
    assert statuses(photos, out, None, palette=out / "palette.hex", existing="skip") == "ssww"
    assert statuses(photos, out, None, palette=out / "palette.hex", existing="update") == "ssss"
    with pytest.raises(
        ArgumentError, match=r"2 of 4 results .*p2.png was made with shared_palette=False, not n_colors=3"
    ):
        quantize_files(photos, out, 3, shared_palette=True, color_space="oklab", existing="skip")
    with pytest.raises(ArgumentError, match=r"4 of 4 results .*p0.png was made with shared_palette=True"):
        quantize_files(photos, out, palette=out / "palette.hex", dither="bayer", existing="skip", dither_strength=0.5)
    assert statuses(photos[2:], out, 3, shared_palette=True, color_space="oklab", existing="update") == "ww"


@pytest.mark.parametrize("existing", ["overwrite", "update"])
@pytest.mark.parametrize("output", ["photos", "photos/../photos", "."])
def test_photos_in_the_output_folder_are_not_lost(
    photos: list[Path], tmp_path: Path, output: str, existing: str
) -> None:
    """One of them has the name of another one's result."""
    Image.open(photos[0]).save(photos[0].with_suffix(".tif"))
    photos[0].rename(tmp_path / output / "p0.png")
    before = (tmp_path / output / "p0.png").read_bytes()
    with pytest.raises(ArgumentError, match=r"p0\.png is not overwritten: .* choose another suffix .* or output "):
        quantize_files(photos[0].with_suffix(".tif"), tmp_path / output, 2, existing=existing)
    assert (tmp_path / output / "p0.png").read_bytes() == before
    (tmp_path / output / "p0.png").unlink()
    for expected in ("written", "skipped" if existing == "update" else "written"):
        found = quantize_files(photos[0].with_suffix(".tif"), tmp_path / output, 2, existing=existing)
        assert [outcome.status for outcome in found] == [expected]


@pytest.mark.filterwarnings("ignore:.* do not say what they were made with")
@pytest.mark.parametrize("image_format", ["png", "tif", "gif"])
def test_results_that_are_damaged_are_told_and_made_anew(photos: list[Path], tmp_path: Path, image_format: str) -> None:
    out = tmp_path / "out"
    assert statuses(photos, out, 4, image_format=image_format) == "wwww"
    results, before = sorted(out.iterdir()), contents(out)
    assert all(map(is_whole, results))
    results[0].write_bytes(b"")
    results[1].write_bytes(before[results[1].name][:-30] if image_format != "tif" else b"II*\0")
    results[2].write_bytes(b"hello")
    words = f"3 of 4 results cannot be read, or are damaged, such as {results[0]}; write those anew with"
    with pytest.warns(UserWarning, match=re.escape(words)):
        assert statuses(photos, out, 4, image_format=image_format, existing="skip") == "ssss"
    assert statuses(photos, out, 4, image_format=image_format, existing="update") == "wwws"
    assert contents(out) == before


def test_a_batch_says_what_to_do_with_it(photos: list[Path], tmp_path: Path) -> None:
    assert repr(quantize_files(photos, tmp_path / "out", 4)) == "Batch(4 files; loop over it to work on them)"

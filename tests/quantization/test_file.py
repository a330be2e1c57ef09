"""From file to file: what `quantize` and `apply_palette` give for the same photo, and what is written."""

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from image_files import swapped_profile
from PIL import Image
from stores import Shelf, shelf

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.strips import StripPhoto
from gpuquant.quantization import file_steps
from gpuquant.quantization.file import quantize_file
from gpuquant.quantization.file_steps import FileResult
from gpuquant.quantization.recipes import apply_palette, quantize
from gpuquant.quantization.result import QuantizedImage

ROWS = 7  # of a strip in these tests: none of the heights is a multiple


@pytest.fixture(autouse=True)
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of few rows, and labels that wait in a file."""
    monkeypatch.setattr(file_steps.Budget, "rows", lambda self, width: ROWS)
    monkeypatch.setattr(file_steps.Budget, "kept", property(lambda self: 1000))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, low_strips: None) -> None:
    """Room for the pixels of a file that is read whole."""
    monkeypatch.setattr(file_steps.Budget, "kept", property(lambda self: 1_000_000))


def noise(*shape: int, seed: int = 0) -> Pixels:
    steps = np.random.default_rng(seed).integers(-9, 10, shape).cumsum(axis=0)
    return (steps % 256).astype(np.uint8)


def saved(pixels: Pixels, path: Path) -> Path:
    np.save(path, pixels)
    return path


def check(found: FileResult, target: Path, wanted: QuantizedImage) -> None:
    assert found.palette.rgba.tolist() == wanted.palette.rgba.tolist()
    np.testing.assert_array_equal(found.counts, np.asarray(wanted.counts))
    assert (found.mse, found.psnr, found.inertia) == (wanted.mse, wanted.psnr, wanted.inertia)
    assert (found.n_iter, found.converged) == (wanted.n_iter, wanted.converged)
    assert (found.height, found.width) == wanted.labels.shape
    mode = "RGB" if wanted.palette.alpha is None else "RGBA"
    with Image.open(target) as image:
        written: Pixels = np.asarray(image.convert(mode))
    np.testing.assert_array_equal(written, wanted.to_array())


@pytest.mark.parametrize("ending", [".png", ".tif", ".gif"])
@pytest.mark.parametrize("dither", ["none", "floyd-steinberg", "blue-noise", "bayer"])
@pytest.mark.parametrize("shape", [(40, 31, 3), (40, 31), (1, 50, 3), (50, 1, 3), (40, 31, 4)])
def test_a_result_is_that_of_quantize(tmp_path: Path, shape: tuple[int, ...], dither: str, ending: str) -> None:
    pixels = noise(*shape)
    if shape[-1] == 4:
        pixels[:, :, 3] = np.where(pixels[:, :, 3] < 60, 0, 255)
    source, target = saved(pixels, tmp_path / "photo.npy"), tmp_path / f"result{ending}"
    check(quantize_file(source, target, 9, dither=dither), target, quantize(pixels, 9, dither=dither))


@pytest.mark.parametrize("options", [{"color_space": "oklab"}, {"effort": "best"}, {"weighting": 0.5}])
def test_options_are_those_of_quantize(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels, target = noise(33, 20, 3), tmp_path / "result.png"
    check(
        quantize_file(saved(pixels, tmp_path / "p.npy"), target, 6, **options), target, quantize(pixels, 6, **options)
    )


def test_a_target_is_reached_as_by_quantize(tmp_path: Path) -> None:
    pixels, target = noise(33, 20, 3), tmp_path / "result.png"
    found = quantize_file(saved(pixels, tmp_path / "p.npy"), target, target_psnr=30)
    check(found, target, quantize(pixels, target_psnr=30))
    assert found.psnr >= 30


def test_many_colors_are_written_as_they_are(tmp_path: Path) -> None:
    pixels, target = noise(60, 40, 3), tmp_path / "result.png"
    check(quantize_file(saved(pixels, tmp_path / "p.npy"), target, 300), target, quantize(pixels, 300))


@pytest.mark.parametrize("dither", ["none", "floyd-steinberg", "blue-noise"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_given_palette_keeps_its_order(tmp_path: Path, alpha: bool, dither: str) -> None:
    pixels, target = noise(33, 20, 4 if alpha else 3), tmp_path / "result.png"
    entries = ["#ffffff", "#000000", "#c81e28", "#0000ff"]
    found = quantize_file(saved(pixels, tmp_path / "p.npy"), target, palette=entries, dither=dither)
    wanted = apply_palette(pixels, entries, dither=dither)
    check(found, target, wanted)
    assert found.palette.hex[:4] == wanted.palette.hex[:4]


def test_partly_transparent_pixels(tmp_path: Path) -> None:
    pixels, target = noise(33, 20, 4), tmp_path / "result.png"
    source = saved(pixels, tmp_path / "p.npy")
    check(quantize_file(source, target, 6), target, quantize(pixels, 6))
    check(quantize_file(source, target, 6, background="white"), target, quantize(pixels, 6, background="white"))


def test_an_alpha_that_is_opaque_everywhere_is_none(tmp_path: Path) -> None:
    pixels, target = noise(33, 20, 4), tmp_path / "result.png"
    pixels[:, :, 3] = 255
    found = quantize_file(saved(pixels, tmp_path / "p.npy"), target, 6)
    assert found.palette.alpha is None
    check(found, target, quantize(np.ascontiguousarray(pixels[:, :, :3]), 6))


@pytest.mark.usefixtures("room")
def test_profiles_are_followed_or_kept(tmp_path: Path) -> None:
    profile = swapped_profile().tobytes()
    source, target = tmp_path / "photo.png", tmp_path / "result.png"
    Image.fromarray(noise(33, 20, 3)).save(source, icc_profile=profile)
    check(quantize_file(source, target, 6), target, quantize(source, 6))
    check(quantize_file(source, target, 6, keep_profile=True), target, quantize(source, 6, keep_profile=True))
    with Image.open(target) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.usefixtures("room")
def test_bytes_and_open_files_will_do(tmp_path: Path) -> None:
    pixels, file, result = noise(33, 20, 3), io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    quantize_file(file.getvalue(), result, 6, image_format="png")
    np.testing.assert_array_equal(np.asarray(Image.open(result).convert("RGB")), quantize(pixels, 6).to_array())


def test_the_file_says_what_it_was_made_with(tmp_path: Path) -> None:
    pixels = noise(33, 20, 3)
    quantize_file(saved(pixels, tmp_path / "p.npy"), tmp_path / "a.png", 6, dither="bayer")
    quantize(pixels, 6, dither="bayer").save(tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert one.info["gpuquant"] == other.info["gpuquant"]


def test_progress_tells_stages_and_shares(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    source = saved(noise(21, 20, 3), tmp_path / "p.npy")
    quantize_file(source, tmp_path / "a.png", 6, progress=lambda stage, share: told.append((stage, share)))
    thirds = [0.0, 1 / 3, 2 / 3, 1.0]
    assert [stage for stage, _ in told] == ["read"] + ["count"] * 4 + ["cluster"] + ["map"] * 4
    assert [share for stage, share in told if stage in ("count", "map")] == pytest.approx(thirds + thirds)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_colors": 4, "palette": "#000,#fff"}, "excludes"),
        ({"memory": "much"}, "memory"),
        ({"n_colors": 0}, "n_colors"),
        ({"dither": "none at all"}, "dither"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"palette": "#000,#fff", "color_space": "oklab"}, "not searched for; it excludes n_colors, .*color_space"),
        ({"palette": "#000,#fff", "effort": "best"}, "excludes"),
        ({"image_format": "jpg"}, "no format of results"),
    ],
)
def test_arguments_that_cannot_be_used(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    source = saved(noise(21, 20, 3), tmp_path / "p.npy")
    with pytest.raises(ArgumentError, match=words):
        quantize_file(source, tmp_path / "a.png", **options)
    assert not (tmp_path / "a.png").exists()


def test_what_the_format_cannot_hold_is_said_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="256 colors"):
        quantize_file(tmp_path / "missing.npy", tmp_path / "a.gif", 300)
    with pytest.raises(ArgumentError, match="pixels wide and high"):
        quantize_file(saved(np.zeros((1, 70_000), np.uint8), tmp_path / "p.npy"), tmp_path / "a.gif", 3)


def test_the_memory_of_a_gif_is_said_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuquant.quantization.file.open_file", lambda *_, **__: pytest.fail("it is read"))
    Image.new("1", (30_000, 20_000)).save(tmp_path / "photo.png")
    words = r"a GIF of 30000 x 20000 pixels takes 2\.4 GB .* more than the 134 MB .*; write \.png or \.tif, or give"
    with pytest.raises(ArgumentError, match=words):
        quantize_file(tmp_path / "photo.png", tmp_path / "out.gif", 2, memory=1, max_pixels=10**9)


def test_a_profile_that_the_format_cannot_hold_is_said_before_it_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuquant.quantization.file.count_file", lambda *_, **__: pytest.fail("it is counted"))
    Image.fromarray(noise(33, 20, 3)).save(tmp_path / "photo.png", icc_profile=swapped_profile().tobytes())
    with pytest.raises(ArgumentError, match="holds no color profile"):
        quantize_file(tmp_path / "photo.png", tmp_path / "a.gif", 3, keep_profile=True)


def test_a_place_that_takes_no_file_is_said_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"none/a\.png cannot be written: No such file or directory"):
        quantize_file(tmp_path / "missing.npy", tmp_path / "none" / "a.png", 3)


def test_a_url_that_cannot_be_written_is_said_before_it_is_read(tmp_path: Path) -> None:
    def denied(what: str, _: str) -> None:
        if what == "write":
            raise PermissionError("Forbidden")

    with shelf() as store:
        Shelf.fault = denied
        with pytest.raises(ImageFileError, match="shelf://box cannot be written: access is denied"):
            quantize_file(tmp_path / "missing.npy", "shelf://box/a.png", 3)
        Shelf.fault = None
        quantize_file(saved(noise(9, 9, 3), tmp_path / "a.npy"), "shelf://box/a.png", 3)
        assert list(store) == ["/box/a.png"]


@pytest.mark.parametrize("dither", ["none", "floyd-steinberg"])
def test_a_photo_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dither: str) -> None:
    passes = [0]
    original = StripPhoto.strips

    def broken(self: StripPhoto, rows: int | None = None) -> Any:
        passes[0] += 1
        for place, strip in enumerate(original(self, rows)):
            if passes[0] == 2 and place == 2:
                raise ImageFileError("the disk is gone")
            yield strip

    monkeypatch.setattr(StripPhoto, "strips", broken)
    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(ImageFileError, match=r"^the disk is gone$"):
        quantize_file(saved(noise(40, 20, 3), tmp_path / "p.npy"), tmp_path / "a.png", 6, dither=dither)
    assert (tmp_path / "a.png").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "p.npy"]


def test_no_room_for_labels_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(ImageFileError, match="more memory"):
        quantize_file(saved(noise(70, 20, 3), tmp_path / "p.npy"), tmp_path / "a.png", 6, dither="bayer")
    assert not (tmp_path / "a.png").exists()


def test_labels_of_what_goes_to_an_object_wait_where_temporary_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current folder may take no files."""
    folders: list[object] = []
    original = tempfile.TemporaryFile

    def spy(**given: Any) -> Any:
        folders.append(given["dir"])
        return original(**given)

    monkeypatch.setattr(tempfile, "TemporaryFile", spy)
    pixels, target = noise(70, 20, 3), io.BytesIO()
    source = saved(pixels, tmp_path / "p.npy")
    quantize_file(source, target, 6, dither="bayer", image_format="png")
    quantize_file(source, tmp_path / "a.png", 6, dither="bayer")
    assert folders == [Path(tempfile.gettempdir()), tmp_path]
    assert target.getvalue() == (tmp_path / "a.png").read_bytes()

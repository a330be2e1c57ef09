"""Files as users have them: the right picture, or one line that says what is wrong."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from image_files import AWKWARD, ERRORS, PICTURES, TRANSPARENT, needs_awkward, swapped_profile
from PIL import Image, ImageCms, ImageFile, ImageOps

import gpuquant
from gpuquant.errors import GpuquantError, ImageFileError
from gpuquant.images.reading import photo_of, read_photo

# name: height and width upright, words of the note
BOMBS = ("pillow_decompression_bomb.gif", "sharp_65536-uint32-limit.png")


@needs_awkward
@pytest.mark.parametrize("name", PICTURES)
def test_awkward_files_give_the_right_picture(name: str) -> None:
    height, width, note = PICTURES[name]
    photo = read_photo(AWKWARD / name)
    assert photo.pixels.shape[:2] == (height, width)
    assert note in " ".join(photo.notes)
    assert len(photo.notes) == (note != "")
    assert (photo.pixels.shape[2:] == (4,)) == (name in TRANSPARENT)
    if name in TRANSPARENT:
        alpha = photo.pixels[..., 3]
        assert (alpha == 0).any()
        assert ((alpha > 0) & (alpha < 255)).any() == TRANSPARENT[name]


def test_the_table_is_complete() -> None:
    assert (len(PICTURES), len(ERRORS)) == (25, 7)
    if AWKWARD.is_dir():
        assert {path.name for path in AWKWARD.iterdir()} == {*PICTURES, *ERRORS}


@needs_awkward
@pytest.mark.parametrize("name", ERRORS)
def test_awkward_files_are_one_line_of_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in BOMBS:
        monkeypatch.delattr(ImageFile.ImageFile, "load")  # they are refused before they are decoded
    with pytest.raises(ImageFileError, match=ERRORS[name]) as caught:
        read_photo(AWKWARD / name)
    assert "\n" not in str(caught.value)


@needs_awkward
@pytest.mark.parametrize(
    ("name", "place", "color", "off"),
    [
        ("sharp_2x2_fdcce6.png", (0, 0), (0xFD, 0xCC, 0x6E), 3),
        ("sharp_Flag_of_the_Netherlands-16bit.png", (100, 450), (0xAE, 0x1C, 0x28), 3),  # the flag's official colors
        ("sharp_Flag_of_the_Netherlands-16bit.png", (300, 450), (0xFF, 0xFF, 0xFF), 0),
        ("sharp_Flag_of_the_Netherlands-16bit.png", (500, 450), (0x21, 0x46, 0x8B), 3),
        ("sharp_p3.png", (4, 4), (255, 0, 0), 1),
    ],
)
def test_colors_of_awkward_files(name: str, place: tuple[int, int], color: tuple[int, int, int], off: int) -> None:
    assert np.abs(read_photo(AWKWARD / name).in_srgb()[place].astype(int) - color).max() <= off


@needs_awkward
@pytest.mark.parametrize("name", sorted(set(PICTURES) - {"sharp_giant-image.jpg"}))  # which Pillow takes for a bomb
def test_colors_are_those_that_pillow_converts_and_turns(name: str) -> None:
    """The whole picture by ImageCms, in place of its distinct colors; what Pillow cannot do is not compared."""
    with Image.open(AWKWARD / name) as opened:
        opened.load()
        image: Image.Image | None = ImageOps.exif_transpose(opened)
        assert image is not None
        profile = image.info.get("icc_profile")
        if image.mode.startswith("I;16") or name in ("sharp_16-bit-grey-alpha.png", "sharp_tbgn2c16.png"):
            pytest.skip("Pillow clips 16 bits, refuses a gray profile on RGBA, and leaves out a gAMA chunk")
        if image.mode == "LAB":
            profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        if profile and image.mode in ("RGB", "RGBA", "CMYK", "L", "LAB"):
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
        assert image is not None
        expected = np.asarray(image.convert("RGB"))
    found = read_photo(AWKWARD / name).in_srgb()
    found = found[:, :, None].repeat(3, axis=2) if found.ndim == 2 else found[:, :, :3]
    assert np.abs(found.astype(int) - expected).max() <= 1


@needs_awkward
def test_turned_files_are_the_ones_that_are_not() -> None:
    """Two files of one photo, and Lab beside RGB."""
    hopper, lab = (read_photo(AWKWARD / f"pillow_hopper{name}").pixels for name in ("_orientation_5.webp", ".Lab.tif"))
    assert np.abs(hopper.astype(int) - lab).mean() < 6


def test_the_profile_is_applied_to_distinct_colors(china: Pixels, tmp_path: Path) -> None:
    profile = swapped_profile()
    Image.fromarray(china).save(tmp_path / "swapped.png", icc_profile=profile.tobytes())
    photo = read_photo(tmp_path / "swapped.png")
    np.testing.assert_array_equal(photo.pixels, china)
    with Image.open(tmp_path / "swapped.png") as image:
        expected = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert expected is not None
    np.testing.assert_array_equal(photo.in_srgb(), np.asarray(expected))
    assert (photo.in_srgb() != china).mean() > 0.1
    result, plain = gpuquant.quantize(tmp_path / "swapped.png", 6), gpuquant.quantize(np.asarray(expected), 6)
    np.testing.assert_array_equal(result.labels, plain.labels)
    np.testing.assert_array_equal(np.asarray(result.palette.colors), np.asarray(plain.palette.colors))
    assert result.mse == plain.mse


def test_a_broken_profile_is_a_note(china: Pixels, tmp_path: Path) -> None:
    Image.fromarray(china).save(tmp_path / "broken.png", icc_profile=b"no profile" * 20)
    photo = read_photo(tmp_path / "broken.png")
    assert photo.to_srgb is None
    assert "profile cannot be used" in photo.notes[0]
    with pytest.warns(UserWarning, match=r"broken\.png: the embedded color profile cannot be used"):
        gpuquant.quantize(tmp_path / "broken.png", 2)


def test_an_srgb_profile_changes_nothing(china: Pixels, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(china).save(tmp_path / "srgb.png", icc_profile=profile.tobytes())
    photo = read_photo(tmp_path / "srgb.png")
    assert photo.to_srgb is None
    assert photo.notes == ()


def test_sixteen_bits_of_gray_are_rounded(tmp_path: Path) -> None:
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    photo = read_photo(tmp_path / "gray.png")
    np.testing.assert_array_equal(photo.pixels, np.rint(levels / 65_535 * 255))
    assert photo.notes == ("16 bits a channel are reduced to 8",)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
def test_modes_without_a_profile_are_converted_by_pillow(mode: str, china: Pixels) -> None:
    image = Image.fromarray(china).convert(mode)
    found = photo_of(image).pixels
    np.testing.assert_array_equal(found, np.asarray(image.convert("L" if mode in ("L", "1") else "RGB")))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_scale_are_refused(mode: str) -> None:
    with pytest.raises(GpuquantError, match=f"images of mode {mode} .* are not supported, as nothing says"):
        photo_of(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("shape", [(1, 1), (200, 7), (331, 67), (2, 40_001), (3, 65_536), (1, 300_001)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_come_whole_from_many_writes(shape: tuple[int, int], channels: tuple[int, ...], tmp_path: Path) -> None:
    """Line feeds, too, which end the lines of the header that Pillow writes before them."""
    pixels = np.random.RandomState(shape[0]).randint(0, 256, (*shape, *channels)).astype(np.uint8)
    pixels[0, 0] = pixels[0, -1] = ord("\n")
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(photo_of(image).pixels, pixels)
    image.save(tmp_path / "photo.tif")  # whose gray Pillow maps into memory
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.tif").pixels, pixels)


def test_the_limit_is_ours_and_pillows_stays(china: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(china).save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    n_pixels = china.shape[0] * china.shape[1]
    assert read_photo(tmp_path / "photo.png", max_pixels=n_pixels).pixels.shape == china.shape
    with pytest.raises(ImageFileError, match="max-pixels"):
        read_photo(tmp_path / "photo.png", max_pixels=n_pixels - 1)
    assert Image.MAX_IMAGE_PIXELS == 100
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_frames_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    photo = read_photo(tmp_path / "two.gif")
    assert photo.notes == ("only the first of 2 frames is used",)
    assert (photo.pixels == (255, 0, 0)).all()


def test_the_callers_image_stays_as_it_is(china: Pixels) -> None:
    image = Image.fromarray(china)
    image.getexif()[0x0112] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(photo_of(image).pixels, china[::-1, ::-1])
    np.testing.assert_array_equal(np.asarray(image), china)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_truncated_file_is_an_error(suffix: str, china: Pixels, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(china).save(path)
    whole = path.read_bytes()
    assert read_photo(path).pixels.shape == china.shape
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageFileError, match="photo"):
            read_photo(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_not_an_image_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ImageFileError, match="file"):
        read_photo(tmp_path / "file")


def test_what_is_not_a_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in ((tmp_path, "is a folder; name a photo in it"), (tmp_path / "pipe", "regular file")):
        with pytest.raises(ImageFileError, match=words):
            read_photo(path)


def test_pictures_are_read_upright(china: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    Image.fromarray(china).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "turned.png").pixels, np.rot90(china, -1))

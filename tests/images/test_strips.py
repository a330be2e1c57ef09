"""Photos in strips are the photos that Pillow reads whole: of every format, orientation and kind of pixels."""

from pathlib import Path

import numpy as np
import pytest
from image_files import AWKWARD, ERRORS, PICTURES, chunk, needs_awkward, png, samples, swapped_profile, tiff
from PIL import Image
from strip_photos import HEIGHT, PLENTY, WIDTH, assert_same, check, exif, levels, needs_vips, saved, with_alpha

from gpuquant.errors import ImageFileError
from gpuquant.images import strips, vips
from gpuquant.images.profiles import ColorSpace, icc_profile
from gpuquant.images.strips import open_strips


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small photos decoded in strips, as large ones are."""
    monkeypatch.setattr(strips, "SMALL", 0)


@needs_vips
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"restart_marker_rows": 1}], ids=str
)
def test_jpeg(mode: str, options: dict[str, object], tmp_path: Path) -> None:
    check(saved(Image.fromarray(levels()).convert(mode), tmp_path / "photo.jpg", **options))


@needs_vips
@pytest.mark.parametrize(
    ("depth", "color_type"),
    [
        (1, 0),
        (2, 0),
        (4, 0),
        (8, 0),
        (16, 0),
        (8, 2),
        (16, 2),
        (1, 3),
        (2, 3),
        (4, 3),
        (8, 4),
        (16, 4),
        (8, 6),
        (16, 6),
    ],
)
@pytest.mark.parametrize("clear", [False, True])
def test_png(depth: int, color_type: int, clear: bool) -> None:
    n_samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    draws = np.random.RandomState(depth)
    rows = [draws.bytes((WIDTH * depth * n_samples + 7) // 8) for _ in range(HEIGHT)]
    before = [chunk(b"PLTE", draws.bytes(3 << depth))] if color_type == 3 else []
    if clear:
        levels_of = {0: samples([1], order=">"), 2: samples([1, 2, 3], order=">"), 3: bytes([0, 128])}
        if color_type not in levels_of:
            pytest.skip("no clear color beside alpha")
        before.append(chunk(b"tRNS", levels_of[color_type]))
    data = png(depth, color_type, WIDTH, rows, *before)
    if clear and depth == 16:
        with pytest.raises(ImageFileError, match="of 16 bits with a transparent color cannot be read in strips"):
            check(data)
    else:
        check(data)


@needs_vips
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
def test_tiff(mode: str, compression: str | None, tmp_path: Path) -> None:
    if (compression == "jpeg" and mode in ("P", "1", "I;16")) or (compression == "group4" and mode != "1"):
        pytest.skip("not in this mode")
    image = Image.fromarray(levels(4)) if mode in ("RGBA", "LA") else Image.fromarray(levels())
    image = Image.fromarray(levels()[:, :, 0].astype(np.uint16) * 250) if mode == "I;16" else image.convert(mode)
    check(saved(image, tmp_path / "photo.tif", compression=compression))


@needs_vips
@pytest.mark.parametrize(
    "options",
    [
        {"tile": True, "tile_width": 16, "tile_height": 32},
        {"tile": True, "tile_width": 16, "tile_height": 16, "compression": "deflate", "bigtiff": True},
        {"tile": True, "tile_width": 16, "tile_height": 16, "compression": "jpeg", "Q": 95},  # without subsampling
        {"compression": "jpeg", "Q": 75},  # YCbCr, subsampled
        {"tile": True, "tile_width": 16, "tile_height": 16, "pyramid": True},
        {"tile": True, "tile_width": 16, "tile_height": 16, "pyramid": True, "subifd": True},
        {"bigtiff": True, "compression": "lzw", "predictor": "horizontal"},
    ],
    ids=str,
)
def test_tiff_of_other_layouts(options: dict[str, object], tmp_path: Path) -> None:
    pixels = levels()
    image = vips.library().Image.new_from_memory(pixels.tobytes(), WIDTH, HEIGHT, 3, "uchar")
    image.copy(interpretation="srgb").tiffsave(str(tmp_path / "photo.tif"), **options)
    check(tmp_path / "photo.tif")


@needs_vips
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("photometric", "bits"), [(2, (8, 8, 8)), (2, (16, 16, 16)), (0, (8,)), (1, (8,)), (1, (16,))])
def test_tiff_made_by_hand(order: str, photometric: int, bits: tuple[int, ...]) -> None:
    data = np.random.RandomState(0).bytes(HEIGHT * WIDTH * sum(bits) // 8)
    check(tiff(data, WIDTH, HEIGHT, order=order, bits=bits, photometric=photometric))


@needs_vips
def test_tiff_of_separate_planes() -> None:
    planes = np.moveaxis(levels(), 2, 0).tobytes()
    offsets = (4, tuple(8 + n * WIDTH * HEIGHT for n in range(3)))
    tags = {273: offsets, 279: (4, (WIDTH * HEIGHT,) * 3), 284: (3, (2,))}
    check(tiff(planes, WIDTH, HEIGHT, tags, bits=(8, 8, 8), photometric=2))


ODD_TIFFS = {
    "16 bits whose 0 is white": tiff(samples([7, 65000]), 2, 1, photometric=0),
    "multiplied by alpha": tiff(bytes(8), 2, 1, {338: (3, (1,))}, bits=(8,) * 4, photometric=2),
    "compression": tiff(bytes(8), 2, 1, {259: (3, (34925,))}, bits=(8,) * 3, photometric=2),
    "YCbCr": tiff(bytes(8), 2, 1, {259: (3, (5,)), 530: (3, (1, 1))}, bits=(8,) * 3, photometric=6),
    "tiles and separate planes": tiff(
        bytes(3 * 256), 2, 1, {322: (3, (16,)), 323: (3, (16,)), 284: (3, (2,))}, bits=(8,) * 3, photometric=2
    ),
}


@pytest.mark.parametrize("words", ODD_TIFFS)
def test_tiff_that_libvips_reads_differently(words: str) -> None:
    with (
        pytest.raises(ImageFileError, match=f"{words}.* cannot be read in strips"),
        open_strips(ODD_TIFFS[words], budget=0),
    ):
        pass


@needs_vips
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("ending", "mode", "options"),
    [
        ("jpg", "RGB", {}),
        ("jpg", "L", {}),
        ("png", "RGBA", {}),
        ("png", "L", {}),
        ("tif", "RGB", {"compression": "tiff_lzw"}),
        ("tif", "L", {}),
        ("tif", "CMYK", {}),
    ],
)
def test_orientations(orientation: int, ending: str, mode: str, options: dict[str, object], tmp_path: Path) -> None:
    image = Image.fromarray(levels(4)) if mode == "RGBA" else Image.fromarray(levels()).convert(mode)
    path = saved(image, tmp_path / f"photo.{ending}", exif=exif(orientation), **options)
    with open_strips(path, budget=0, folder=tmp_path) as photo:
        assert ("temporary file" in photo.how) == (orientation > 2)
    check(path)


@needs_vips
@pytest.mark.parametrize(
    "tail", [chunk(b"eXIf", exif(6).tobytes()[6:]), chunk(b"tEXt", b"date\0now"), chunk(b"tEXt", bytes(2_000_000))]
)
def test_metadata_after_the_pixels_of_a_png(tail: bytes) -> None:
    check(png(8, 2, WIDTH, [row.tobytes() for row in levels()], after=tail))


@needs_vips
def test_profiles(tmp_path: Path) -> None:
    gray = icc_profile(ColorSpace(1.8), gray=True)
    swapped = swapped_profile().tobytes()
    for mode, profile, ending in (
        ("RGB", swapped, "png"),
        ("RGBA", swapped, "png"),
        ("RGB", swapped, "jpg"),
        ("RGB", swapped, "tif"),
        ("L", gray, "png"),
        ("LA", gray, "png"),
        ("L", gray, "tif"),
        ("RGB", b"no profile" * 20, "png"),
    ):
        image = Image.fromarray(levels(4)) if mode in ("RGBA", "LA") else Image.fromarray(levels())
        check(saved(image.convert(mode), tmp_path / f"photo.{ending}", icc_profile=profile))


@needs_vips
def test_what_is_opaque_has_alpha_until_it_is_counted(tmp_path: Path) -> None:
    path = saved(Image.fromarray(with_alpha(levels())), tmp_path / "photo.png")
    with open_strips(path, budget=0) as photo:
        assert photo.n_channels == 4
        assert_same(photo, path)
    with open_strips(path, budget=0, preview=True) as photo:
        assert all((strip[:, :, 3] == 255).all() for strip in photo.strips())


@needs_vips
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 3), (17, 16)])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_odd_sizes(height: int, width: int, ending: str, orientation: int, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (height, width, 3)).astype(np.uint8)
    path = saved(Image.fromarray(pixels), tmp_path / f"photo.{ending}", exif=exif(orientation))
    for budget in (0, PLENTY):
        with open_strips(path, budget=budget) as photo:
            assert_same(photo, path, (None, 1, 2, 1000))


@needs_vips
@needs_awkward
@pytest.mark.parametrize("name", sorted({*PICTURES} - {"sharp_giant-image.jpg"}))  # which takes a while, by Pillow
def test_awkward_files(name: str) -> None:
    for budget in (0, PLENTY):
        try:
            with open_strips(AWKWARD / name, budget=budget) as photo:
                assert_same(photo, AWKWARD / name, (None,))
        except ImageFileError as error:
            assert "cannot be read in strips" in str(error)  # noqa: PT017
            assert not budget


@needs_vips
@needs_awkward
@pytest.mark.parametrize("name", ERRORS)
def test_awkward_files_are_the_error_that_they_are_whole(name: str) -> None:
    with pytest.raises(ImageFileError, match=ERRORS[name]), open_strips(AWKWARD / name, budget=PLENTY) as photo:
        list(photo.strips())
    with pytest.raises(ImageFileError) as caught, open_strips(AWKWARD / name, budget=0) as photo:
        list(photo.strips())
    assert "\n" not in str(caught.value)


@needs_vips
def test_only_the_first_page_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(levels())
    path = saved(image, tmp_path / "pages.tif", save_all=True, append_images=[image.rotate(180)])
    check(path)
    with open_strips(path, budget=0) as photo:
        assert photo.notes == ("only the first of 2 frames is used",)

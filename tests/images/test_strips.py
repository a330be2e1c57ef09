"""Photos in strips are the photos that Pillow reads whole: of every format, orientation and kind of pixels."""

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from image_files import AVIF, AWKWARD, ERRORS, PICTURES, chunk, needs_awkward, png, samples, swapped_profile, tiff
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images import strip_head, strip_passes, strips, vips
from gpuquant.images.profiles import ColorSpace, icc_profile
from gpuquant.images.reading import read_photo
from gpuquant.images.strips import StripPhoto, open_strips

needs_vips = pytest.mark.skipif(vips.library() is None, reason="pyvips is not installed")
HEIGHT, WIDTH = 53, 61
PLENTY = 1 << 30


def levels(n_channels: int = 3) -> Pixels:
    """Slopes, which stay what they are in a JPEG, more or less, and some noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.RandomState(0).randint(0, 9, (HEIGHT, WIDTH))
    every = np.stack([x * 4, y * 4 + noise, (x + 2 * y) % 256, 255 - x - y], axis=2)
    return every[:, :, :n_channels].astype(np.uint8)


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small photos decoded in strips, as large ones are."""
    monkeypatch.setattr(strips, "SMALL", 0)


def with_alpha(pixels: Pixels) -> Pixels:
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None].repeat(3, axis=2)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], axis=2)


def assert_same(photo: StripPhoto, source: Path | bytes, rows: tuple[int | None, ...] = (None, 7)) -> None:
    """Check strips against Pillow's pixels, in several passes; and all else that is known of the photo."""
    whole = read_photo(source)
    expected = whole.pixels
    if photo.n_channels == 4 and expected.shape[2:] != (4,):
        expected = with_alpha(expected)  # all of it is opaque
    assert photo.shape == expected.shape[:2]
    assert photo.n_channels == (expected.shape[2] if expected.ndim == 3 else 1)
    for n_rows in rows:
        found = list(photo.strips(n_rows))
        np.testing.assert_array_equal(np.concatenate(found), expected)
        if n_rows:
            assert {len(strip) for strip in found[:-1]} <= {n_rows}
            assert len(found) == -(-len(expected) // n_rows)
    assert photo.notes == whole.notes
    assert photo.icc_profile == whole.icc_profile
    assert photo.other_profile == whole.other_profile
    assert (photo.to_srgb is None) == (whole.to_srgb is None)
    if photo.to_srgb and whole.to_srgb:
        colors = np.random.RandomState(1).randint(0, 256, (99, 3)).astype(np.uint8)
        np.testing.assert_array_equal(photo.to_srgb(colors), whole.to_srgb(colors))


def check(source: Path | bytes, how: str = "decoded") -> None:
    """Check a file with a tiny budget, and with one that all pixels fit."""
    for budget in (0, PLENTY):
        with open_strips(source, budget=budget) as photo:
            assert photo.how.startswith(how)
            assert_same(photo, source)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x112] = orientation
    return block


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
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("photo.jpg", {}),
        ("photo.jpg", {"progressive": True}),
        ("photo.png", {}),
        ("photo.tif", {}),
        ("turned.jpg", {"exif": exif(6)}),
    ],
)
@pytest.mark.parametrize("budget", [0, PLENTY])
def test_a_file_that_is_cut_off_in_its_last_strip(
    name: str, options: dict[str, object], budget: int, tmp_path: Path
) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / name, **options)
    path.write_bytes(path.read_bytes()[:-40])
    files = set(tmp_path.iterdir())
    with (
        pytest.raises(ImageFileError, match=r"photo|turned") as caught,
        open_strips(path, budget=budget, folder=tmp_path) as photo,
    ):
        for _ in photo.strips(8):
            pass
    assert "decoded" in str(caught.value)
    assert set(tmp_path.iterdir()) == files
    if budget:
        with pytest.raises(ImageFileError) as whole:
            read_photo(path)
        assert str(caught.value) == str(whole.value)


@needs_vips
@pytest.mark.parametrize("orientation", [1, 6])
def test_pillow_goes_on_where_libvips_gives_up(
    orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(Image.fromarray(with_alpha(levels())), tmp_path / "photo.png", exif=exif(orientation))
    decoded = vips.Rows.__iter__

    def gives_up(rows: vips.Rows) -> Iterator[vips.Samples]:
        yield from itertools.islice(decoded(rows), 3)
        raise vips.DecodingError("pixels are missing")

    monkeypatch.setattr(vips.Rows, "__iter__", gives_up)
    monkeypatch.setattr(strip_passes, "PART_PIXELS", 8 * WIDTH)
    with open_strips(path, budget=0) as photo:
        found = photo.strips(8)
        begun: list[Pixels] = []
        with pytest.raises(ImageFileError, match=r"photo\.png: the image cannot be decoded: pixels are missing"):
            begun.extend(found)
    for place, strip in enumerate(begun):
        np.testing.assert_array_equal(strip[:, :, :3], levels()[8 * place : 8 * place + 8])
    with open_strips(path, budget=PLENTY) as photo:
        assert photo.n_channels == 4
        assert_same(photo, path, (8, None))


@needs_vips
@pytest.mark.parametrize("name", ["photo.jpg", "turned.jpg"])
def test_pixels_are_kept_where_they_fit(name: str, tmp_path: Path) -> None:
    options = {"exif": exif(6)} if name == "turned.jpg" else {}
    path = saved(Image.fromarray(levels()), tmp_path / name, **options)
    with open_strips(path, budget=3 * HEIGHT * WIDTH) as photo:
        assert photo.how == "decoded once, and kept in memory"
        found = list(photo.strips(7))
        path.unlink()
        np.testing.assert_array_equal(np.concatenate(list(photo.strips())), np.concatenate(found))
    saved(Image.fromarray(levels()), path)
    with open_strips(path, budget=3 * HEIGHT * WIDTH - 1) as photo:
        list(photo.strips())
        path.unlink()
        with pytest.raises(ImageFileError, match="no such file"):
            list(photo.strips())


@needs_vips
@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw", "jpeg"])
def test_damage_inside_a_tiff_is_no_warning(compression: str, tmp_path: Path) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / "photo.tif", compression=compression)
    data = bytearray(path.read_bytes())
    for place in range(200, len(data) - 500, 97):
        data[place] ^= 255
    path.write_bytes(data)
    try:
        expected = read_photo(path).pixels
    except ImageFileError:
        with pytest.raises(ImageFileError), open_strips(path, budget=PLENTY) as photo:
            list(photo.strips())
    else:
        with open_strips(path, budget=PLENTY) as photo:
            np.testing.assert_array_equal(np.concatenate(list(photo.strips())), expected)


@pytest.mark.parametrize("name", ["photo.gif", "photo.webp", "photo.bmp", "photo.jp2", *AVIF])
def test_other_formats_are_read_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / name)
    check_whole(path, "a file of the format")


def check_whole(path: Path, words: str) -> None:
    with open_strips(path, budget=PLENTY) as photo:
        assert photo.how == "read whole"
        assert_same(photo, path)
    pattern = f"{words}.* cannot be read in strips: .* of memory, more than the .*--memory 1GB, or make a tiled TIFF"
    with pytest.raises(ImageFileError, match=pattern) as caught, open_strips(path, budget=1000):
        pass
    assert str(caught.value).startswith(str(path))


def test_interlaced_and_animated_pngs_are_read_whole_or_not_at_all(tmp_path: Path) -> None:
    image = Image.fromarray(levels())
    frames = saved(image, tmp_path / "frames.png", save_all=True, append_images=[image.rotate(180)])
    check_whole(frames, "an animated PNG")
    data = bytearray(png(8, 0, 1, [b"\7"]))
    data[28] = 1
    data[29:33] = chunk(b"IHDR", bytes(data[16:29]))[-4:]
    (tmp_path / "interlaced.png").write_bytes(data)
    with pytest.raises(ImageFileError, match="an interlaced PNG"), open_strips(tmp_path / "interlaced.png", budget=0):
        pass
    with open_strips(bytes(data), budget=PLENTY) as photo:
        np.testing.assert_array_equal(next(photo.strips()), [[7]])


@needs_vips
def test_only_the_first_page_is_read(tmp_path: Path) -> None:
    image = Image.fromarray(levels())
    path = saved(image, tmp_path / "pages.tif", save_all=True, append_images=[image.rotate(180)])
    check(path)
    with open_strips(path, budget=0) as photo:
        assert photo.notes == ("only the first of 2 frames is used",)


@needs_vips
def test_the_limit_of_pixels_is_that_of_whole_photos(tmp_path: Path) -> None:
    np.save(tmp_path / "photo.npy", levels())
    for path in (saved(Image.fromarray(levels()), tmp_path / "photo.png"), tmp_path / "photo.npy"):
        with (
            pytest.raises(ImageFileError, match=r"61 x 53 = 3233 pixels, more than the limit of 3232 .*--max-pixels"),
            open_strips(path, budget=0, max_pixels=HEIGHT * WIDTH - 1),
        ):
            pass


@needs_vips
def test_what_decoders_hold_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coefficients of a progressive JPEG, the tiles of a TIFF; but not of a baseline JPEG."""
    monkeypatch.setattr(strip_head, "HELD_FREELY", 0)
    image = Image.fromarray(levels())
    n_bytes = 2 * 3 * HEIGHT * WIDTH  # of 16 bits, without subsampling
    progressive = saved(image, tmp_path / "photo.jpg", progressive=True, subsampling=0)
    pattern = r"decoder holds more than some rows cannot be read in strips: it takes 19\.4 KB"
    with pytest.raises(ImageFileError, match=pattern), open_strips(progressive, budget=n_bytes - 1):
        pass
    with open_strips(progressive, budget=n_bytes) as photo:
        assert photo.how == "decoded again for each pass"
        assert_same(photo, progressive)
    with open_strips(saved(image, tmp_path / "baseline.jpg"), budget=0) as photo:
        assert len(next(photo.strips(5))) == 5
    image_of_vips = vips.library().Image.new_from_memory(levels().tobytes(), WIDTH, HEIGHT, 3, "uchar")
    image_of_vips.tiffsave(str(tmp_path / "photo.tif"), tile=True, tile_width=16, tile_height=16)
    with (
        pytest.raises(ImageFileError, match=r"a TIFF whose decoder holds .* 5\.86 KB"),
        open_strips(tmp_path / "photo.tif", budget=2 * 16 * 3 * WIDTH - 1),
    ):
        pass


def test_small_photos_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "SMALL", HEIGHT * WIDTH)
    path = saved(Image.fromarray(with_alpha(levels())), tmp_path / "photo.png")
    with open_strips(path, budget=PLENTY) as photo:
        assert (photo.how, photo.n_channels) == ("read whole", 3)
        assert_same(photo, path)


def test_without_pyvips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vips, "library", lambda: None)
    path = saved(Image.fromarray(levels()), tmp_path / "photo.png")
    with open_strips(path, budget=PLENTY) as photo:
        assert photo.how == "read whole"
        assert_same(photo, path)
    with pytest.raises(ImageFileError, match=r"pip install 'gpuquant\[large\]'"), open_strips(path, budget=0):
        pass


@needs_vips
def test_bytes_and_open_files(tmp_path: Path) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / "photo.png")
    sources: list[Callable[[], object]] = [path.read_bytes, lambda: io.BytesIO(path.read_bytes()), lambda: str(path)]
    for source in sources:
        with open_strips(source(), budget=0) as photo:  # type: ignore[arg-type]
            assert_same(photo, path)


@needs_vips
def test_passes_at_the_same_time(tmp_path: Path) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / "photo.png", exif=exif(1))
    for budget in (0, PLENTY):
        with open_strips(path, budget=budget) as photo:
            pairs = zip(photo.strips(5), photo.strips(5), strict=True)
            for place, (one, other) in enumerate(pairs):
                np.testing.assert_array_equal(one, levels()[5 * place : 5 * place + 5])
                np.testing.assert_array_equal(one, other)


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return sorted(str(name.readlink()) for name in folder.iterdir() if name.exists()) if folder.exists() else []


@needs_vips
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.tif", "turned.jpg"])
def test_nothing_stays_open(name: str, tmp_path: Path) -> None:
    """Neither files nor threads, after a pass, half of one, or an error."""
    options = {"exif": exif(6)} if name == "turned.jpg" else {}
    path = saved(Image.fromarray(levels()), tmp_path / name, **options)
    before, n_threads = open_files(), threading.active_count()
    for budget in (0, PLENTY):
        with open_strips(path, budget=budget, folder=tmp_path) as photo:
            list(photo.strips())
            left: Iterator[Pixels] = photo.strips(2)
            next(left)
        assert open_files() == before
        assert threading.active_count() <= n_threads
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImageFileError), open_strips(path, budget=0, folder=tmp_path) as photo:
        list(photo.strips(2))
    assert open_files() == before
    assert [found.name for found in tmp_path.iterdir()] == [name]


@needs_vips
def test_a_file_that_changes_between_passes(tmp_path: Path) -> None:
    path = saved(Image.fromarray(levels()), tmp_path / "photo.png")
    with open_strips(path, budget=0) as photo:
        list(photo.strips())
        saved(Image.fromarray(levels()[:9]), path)
        with pytest.raises(ImageFileError, match="not what it was"):
            list(photo.strips())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    "shape", [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4), (HEIGHT, WIDTH), (HEIGHT, WIDTH, 1), (1, 1, 3)]
)
def test_arrays_are_mapped(shape: tuple[int, ...], dtype: type, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    np.save(tmp_path / "photo.npy", pixels if dtype is np.uint8 else pixels.astype(dtype) / 255)
    expected = pixels[:, :, 0] if shape[2:] == (1,) else pixels
    with open_strips(tmp_path / "photo.npy", budget=0) as photo:
        assert (photo.shape, photo.how) == (shape[:2], "mapped into memory")
        for n_rows in (None, 3):
            np.testing.assert_array_equal(np.concatenate(list(photo.strips(n_rows))), expected)
        assert photo.n_channels == (expected.shape[2] if expected.ndim == 3 else 1)


def test_arrays_that_are_no_images(tmp_path: Path) -> None:
    path = tmp_path / "photo.npy"
    for array, words in (
        (np.zeros((4, 5, 6, 7)), r"image must be .*got \(4, 5, 6, 7\)"),
        (np.zeros((4, 5, 3), np.int32), "int32"),
        (np.zeros((0, 5, 3), np.uint8), "empty"),
        (np.full((4, 5, 3), 2.0), "image"),
    ):
        np.save(path, array)
        with pytest.raises(ImageFileError, match=words) as caught, open_strips(path, budget=0) as photo:
            list(photo.strips())
        assert str(caught.value).startswith(str(path))
    np.save(path, levels())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageFileError, match=r"photo\.npy"), open_strips(path, budget=0) as photo:
        list(photo.strips())
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(ImageFileError, match=r"photo\.npy"), open_strips(path, budget=0):
        pass

"""Photos in strips meet damage, too little memory, and files and threads that would stay behind."""

import io
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from image_files import AVIF, chunk, png
from PIL import Image
from strip_photos import HEIGHT, PLENTY, WIDTH, assert_same, exif, levels, needs_vips, saved, with_alpha

from gpuquant.errors import ImageFileError
from gpuquant.images import strip_head, strip_passes, strips, vips
from gpuquant.images.reading import read_photo
from gpuquant.images.strips import open_strips
from gpuquant.quantization.file_steps import budget_of


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small photos decoded in strips, as large ones are."""
    monkeypatch.setattr(strips, "SMALL", 0)


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
        with pytest.raises(ImageFileError, match=r"photo\.png: the image cannot be decoded: pixels are missing"):  # noqa: PT012
            for place, strip in enumerate(found):
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
    pattern = rf"{words}.* cannot be read in strips: .* of memory, more than the .*memory='\dGB', or make a tiled TIFF"
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


@pytest.mark.parametrize("n_bytes", [1, 10**9, 33 * 10**8])
@pytest.mark.parametrize("as_floats", [False, True])
def test_the_memory_that_is_named_is_enough(n_bytes: int, as_floats: bool) -> None:
    found = re.search(r"memory='(\w+)'", strips._too_much("a file", n_bytes, 0))
    assert found
    assert budget_of(found[1], as_floats=as_floats).whole >= n_bytes


@needs_vips
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_rows_of_millions_of_pixels_take_memory(orientation: int, tmp_path: Path) -> None:
    size = (1_100_000, 1) if orientation == 1 else (1, 1_100_000)
    path = saved(Image.new("L", size, 7), tmp_path / "photo.png", exif=exif(orientation))
    with pytest.raises(ImageFileError, match=r"it takes 17\.6 MB of memory"), open_strips(path, budget=0):
        pass
    with open_strips(path, budget=0, whole=17_600_000, folder=tmp_path) as photo:
        assert [strip.shape for strip in photo.strips()] == [(1, 1_100_000)]


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
    before, threads = open_files(), set(threading.enumerate())
    for budget in (0, PLENTY):
        with open_strips(path, budget=budget, folder=tmp_path) as photo:
            list(photo.strips())
            left: Iterator[Pixels] = photo.strips(2)
            next(left)
        assert open_files() == before
        assert set(threading.enumerate()) <= threads
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

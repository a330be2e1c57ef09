import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import Pixels
from PIL import Image, ImageSequence

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.image_writing import indexed_image, write_image, write_picture
from gpuquant.quantization import quantize


def labels_and_colors(n_colors: int) -> tuple[Pixels, Pixels]:
    labels = (np.arange(20 * 30) % n_colors).astype(np.uint8).reshape(20, 30)
    random = np.random.RandomState(n_colors)
    return labels, random.permutation(np.stack([np.arange(n_colors)] * 3, axis=1)).astype(np.uint8)


@pytest.mark.parametrize(("n_colors", "depth"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
def test_png_has_the_smallest_bit_depth(n_colors: int, depth: int, tmp_path: Path) -> None:
    labels, colors = labels_and_colors(n_colors)
    write_image(indexed_image(labels, colors), tmp_path / "out.png")
    width, height, bits, color_type = struct.unpack(">IIBB", (tmp_path / "out.png").read_bytes()[16:26])
    assert (width, height, bits, color_type) == (30, 20, depth, 3)


@pytest.mark.parametrize(("n_colors", "depth"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
@pytest.mark.parametrize("width", [1, 7, 30])
def test_tiff_has_the_smallest_bit_depth(n_colors: int, depth: int, width: int, tmp_path: Path) -> None:
    labels, colors = labels_and_colors(n_colors)
    labels = np.ascontiguousarray(labels[:, :width])
    write_image(indexed_image(labels, colors), tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert image.tag_v2[258] == (depth,)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(image), labels)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors[labels])


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".tiff", ".gif"])
@pytest.mark.parametrize("n_colors", [2, 3, 16, 100, 256])
def test_palette_and_labels_keep_their_numbers(suffix: str, n_colors: int, tmp_path: Path) -> None:
    labels, colors = labels_and_colors(n_colors)
    path = tmp_path / f"out{suffix}"
    write_image(indexed_image(labels, colors), path)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels)
        palette: npt.NDArray[np.uint8] = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)[:n_colors]
        np.testing.assert_array_equal(palette, colors)
        assert len(list(ImageSequence.Iterator(image))) == 1


def test_many_colors_are_written_as_rgb(china: Pixels, tmp_path: Path) -> None:
    result = quantize(china, 300)
    for name in ("out.png", "out.tif"):
        result.save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), result.to_array())
    with pytest.raises(ArgumentError, match="256"):
        result.save(tmp_path / "out.gif")
    assert not (tmp_path / "out.gif").exists()


@pytest.mark.parametrize("name", ["out.jpg", "out", "out.png.txt"])
def test_unknown_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.png"):
        write_image(Image.new("L", (2, 2)), tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".tif"])
def test_pictures_may_be_lossy(suffix: str, china: Pixels, tmp_path: Path) -> None:
    write_picture(Image.fromarray(china), tmp_path / f"both{suffix}")
    with Image.open(tmp_path / f"both{suffix}") as image:
        apart = np.asarray(image.convert("RGB")).astype(int) - china
    assert np.abs(apart).mean() < (8 if suffix in (".jpg", ".JPEG", ".webp") else 1e-9)
    with pytest.raises(ArgumentError, match=r"\.gif"):
        write_picture(Image.fromarray(china), tmp_path / "both.gif")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")

    def half(_: Image.Image, file: object, *__: object, **___: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(ImageFileError, match="No space left"):
        write_image(Image.new("L", (2, 2)), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_impossible_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "missing" / "out.png", tmp_path / "folder.png"):
        with pytest.raises(ImageFileError, match="cannot be written"):
            write_image(Image.new("L", (2, 2)), path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("n_colors", [16, 17])
def test_a_png_is_as_small_as_level_6_makes_it_or_nearly(n_colors: int, china: Pixels, tmp_path: Path) -> None:
    result = quantize(china, n_colors)
    for level in (None, 6):
        result.save(tmp_path / f"{level}.png", compression=level)
    sizes = [(tmp_path / f"{level}.png").stat().st_size for level in (None, 6)]
    assert sizes[0] < (1.0 if n_colors == 16 else 1.1) * sizes[1]
    with pytest.raises(ArgumentError, match="compression=10 must be an integer from 0 to 9"):
        result.save(tmp_path / "out.png", compression=10)

"""Every format's limits are told in one line, before the work where they can be known by then, and leave no file."""

from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import ExifTags, Image

import gpuquant
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import writing as image_writing
from gpuquant.images.writing import check_format, indexed_image, write_image, write_picture
from gpuquant.quantization import recipes as quantization

WIDE = np.array([[0, 90, 200, 200]], np.uint8).repeat(17_500, axis=1)  # 70000 x 1


def indexed(width: int, height: int, n_colors: int = 2) -> Image.Image:
    colors = np.arange(3 * n_colors, dtype=np.uint8).reshape(-1, 3)
    return indexed_image(np.zeros((height, width), np.uint8), colors)


def is_refused(message: str, image: Image.Image, path: Path) -> None:
    write = write_picture if image.mode == "RGB" else write_image
    with pytest.raises(ArgumentError, match=message):
        write(image, path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_sides_of_a_gif(size: tuple[int, int], tmp_path: Path) -> None:
    is_refused(
        f"a GIF is at most 65535 pixels wide and high, not {size[0]} x {size[1]}", indexed(*size), tmp_path / "a.gif"
    )
    write_image(indexed(65_535, 1), tmp_path / "wide.gif")
    for name in ("a.png", "a.tif"):
        write_image(indexed(*size), tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.size == size


@pytest.mark.parametrize(("name", "limit", "kind"), [("a.jpg", 65_500, "JPEG"), ("a.webp", 16_383, "WebP")])
def test_sides_of_pictures(name: str, limit: int, kind: str, tmp_path: Path) -> None:
    for size in ((limit + 1, 1), (1, limit + 1)):
        is_refused(f"a {kind} is at most {limit} pixels wide", Image.new("RGB", size), tmp_path / name)
    write_picture(Image.new("RGB", (limit, 1)), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert image.size == (limit, 1)


@pytest.mark.parametrize(("name", "limit"), [("a.png", 2**31 - 1), ("a.tif", 2**32 - 1), ("a.gif", 65_535)])
def test_sides_that_no_test_can_write(name: str, limit: int) -> None:
    for size in ((limit, 1), (1, limit)):
        check_format(name, 1, size=size)
    for size in ((limit + 1, 1), (1, limit + 1)):
        with pytest.raises(ArgumentError, match=f"at most {limit} pixels wide and high, not {size[0]} x {size[1]}"):
            check_format(name, 1, size=size)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.gif"])
@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_empty_images_are_told(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    is_refused(f"the image is empty \\({size[0]} x {size[1]}\\)", Image.new("P", size), tmp_path / name)


@pytest.mark.parametrize(("n_colors", "bits"), [(2, 1), (17, 8)])
def test_rows_that_the_encoders_cannot_take(
    n_colors: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They speak of a lack of memory from 2^31 bits on."""
    monkeypatch.setattr(image_writing, "MAX_ROW_BITS", 8_000)
    for name in ("a.png", "a.tif"):
        image = indexed(8_000 // bits + 1, 1, n_colors)
        is_refused(f"rows of at most {8_000 // bits} pixels can be written", image, tmp_path / name)
    write_image(indexed(8_000 // bits, 1, n_colors), tmp_path / "a.tif")


@pytest.mark.parametrize("n_colors", [2, 256])
def test_bytes_of_a_tiff(n_colors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libtiff fails, and says next to nothing; our own writer would need a place that its 32 bits cannot hold."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("encoder error -2 when writing image file")

    monkeypatch.setattr(image_writing, "MAX_TIFF_BYTES", 4_200)
    monkeypatch.setattr(Image.Image, "save", fail)
    noise = np.random.RandomState(0).randint(0, n_colors, (300, 300), dtype=np.uint8)
    image = indexed_image(noise, np.arange(3 * n_colors).astype(np.uint8).reshape(-1, 3))
    is_refused("a TIFF holds at most 4 GiB", image, tmp_path / "a.tif")


def test_a_profile_that_a_jpeg_cannot_hold(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info["icc_profile"] = bytes(255 * 65_519 + 1)
    is_refused("a JPEG holds a color profile of at most 16707345 bytes", picture, tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "error", [OverflowError("int too large"), ValueError("odd"), SystemError("tile"), OSError("-2")]
)
def test_what_an_encoder_raises_is_an_error_of_ours(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    for write, image in ((write_image, indexed(2, 2)), (write_picture, Image.new("RGB", (2, 2)))):
        with pytest.raises(ImageFileError, match=str(error)) as caught:
            write(image, tmp_path / "a.png")
        assert str(caught.value).count("cannot be written") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["a\0b.png", "a\ud800.png", None, b"a.png", 3])
def test_what_is_no_path(path: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = gpuquant.quantize(WIDE[:, :9], 2, device="cpu")
    with pytest.raises(ArgumentError, match="path"):
        result.save(path)  # type: ignore[arg-type]
    if isinstance(path, str):
        with pytest.raises(ArgumentError, match="path"):
            gpuquant.write_palette(result.palette, path)
    assert not list(tmp_path.iterdir())


def test_a_result_is_refused_by_name(tmp_path: Path) -> None:
    result = gpuquant.quantize(WIDE, 2, device="cpu")
    with pytest.raises(
        ArgumentError, match=r"a GIF is at most 65535 pixels wide and high, not 70000 x 1; use \.png or \.tif"
    ):
        result.save(tmp_path / "a.gif")
    result.save(tmp_path / "a.png")
    for number, picture in enumerate((result.side_by_side(WIDE), result.error_map(WIDE))):  # scaled to a screen
        for ending in ("jpg", "webp"):
            write_picture(picture, tmp_path / f"{number}.{ending}")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a photo is read")

    monkeypatch.setattr(quantization, "count_image", fail)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", ["quantize", "apply"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_command_line_tells_it_before_it_works(
    command: str, turned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6 if turned else 1
    Image.fromarray(WIDE).save(tmp_path / "wide.png", exif=exif)
    (tmp_path / "two.hex").write_text("000000\nffffff\n")
    given = [tmp_path / "two.hex"] if command == "apply" else []
    code, out, err = run([command, *given, tmp_path / "wide.png", tmp_path / "a.gif"], monkeypatch, capsys)
    assert (code, out) == (2, "")
    limit = "a GIF is at most 65535 pixels wide and high, not 70000 x 1; use .png or .tif"
    assert err == f"gpuquant: {tmp_path}/a.gif: {limit}\n"
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.usefixtures("no_work")
def test_a_palette_that_a_gif_cannot_hold_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(WIDE[:, :9]).save(tmp_path / "photo.png")
    gpuquant.write_palette(gpuquant.Palette(WIDE[:, :3], np.array([99], np.uint8)), tmp_path / "half.hex")
    code, out, err = run(
        ["apply", tmp_path / "half.hex", tmp_path / "photo.png", tmp_path / "a.gif"], monkeypatch, capsys
    )
    assert (code, out) == (2, "")
    assert "a GIF holds no partly transparent colors" in err
    palette = gpuquant.read_palette(tmp_path / "half.hex")
    with pytest.raises(ArgumentError, match="a GIF holds no partly transparent colors"):
        gpuquant.quantize_files(tmp_path / "photo.png", tmp_path / "out", image_format="gif", palette=palette)


def test_nothing_is_written_where_the_image_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clear = np.full((4, 4, 4), 100, np.uint8)
    Image.fromarray(clear).save(tmp_path / "photo.png")
    palette = ["--palette", tmp_path / "a.hex"]
    code, _, err = run(["quantize", tmp_path / "photo.png", tmp_path / "a.gif", *palette], monkeypatch, capsys)
    assert code == 2
    assert "a GIF holds no partly transparent colors" in err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_has_it_as_a_failed_file(shared: bool, tmp_path: Path) -> None:
    """A shared palette is that of the others."""
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    Image.fromarray(WIDE[:, :1]).save(tmp_path / "small.png")
    out = tmp_path / "out"
    batch = gpuquant.quantize_files(tmp_path, out, 2, image_format="gif", shared_palette=shared, device="cpu")
    found = {outcome.source.name: (outcome.status, outcome.error) for outcome in batch}
    limit = "a GIF is at most 65535 pixels wide and high, not 70000 x 1; use .png or .tif"
    assert found == {"small.png": ("written", None), "wide.png": ("failed", f"{out}/wide.gif: {limit}")}
    assert sorted(path.name for path in out.iterdir()) == (["palette.hex"] if shared else []) + ["small.gif"]
    if shared:
        assert gpuquant.read_palette(out / "palette.hex").hex == ("#000000",)

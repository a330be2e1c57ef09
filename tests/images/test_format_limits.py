"""Every format's limits are told in one line, before the work where they can be known by then, and leave no file."""

from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import ExifTags, Image

import gpuquant
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.sinks import open_sink
from gpuquant.images.writing import check_format, write_picture
from gpuquant.quantization import recipes as quantization

WIDE = np.array([[0, 90, 200, 200]], np.uint8).repeat(17_500, axis=1)  # 70000 x 1


def write_result(size: tuple[int, int], path: Path) -> None:
    with open_sink(path, size, np.zeros((2, 3), np.uint8)) as write:
        write(np.zeros(size[::-1], np.uint8))


@pytest.mark.parametrize("size", [(65_536, 1), (1, 65_536)])
def test_sides_of_a_gif(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=f"a GIF is at most 65535 pixels wide and high, not {size[0]} x {size[1]}"):
        write_result(size, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
    write_result((65_535, 1), tmp_path / "wide.gif")
    for name in ("a.png", "a.tif"):
        write_result(size, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.size == size


@pytest.mark.parametrize(("name", "limit", "kind"), [("a.jpg", 65_500, "JPEG"), ("a.webp", 16_383, "WebP")])
def test_sides_of_pictures(name: str, limit: int, kind: str, tmp_path: Path) -> None:
    for size in ((limit + 1, 1), (1, limit + 1)):
        with pytest.raises(ArgumentError, match=f"a {kind} is at most {limit} pixels wide"):
            write_picture(Image.new("RGB", size), tmp_path / name)
        assert not list(tmp_path.iterdir())
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
    with pytest.raises(ArgumentError, match=f"the image is empty \\({size[0]} x {size[1]}\\)"):
        write_result(size, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_profile_that_a_jpeg_cannot_hold(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 2))
    picture.info["icc_profile"] = bytes(255 * 65_519 + 1)
    with pytest.raises(ArgumentError, match="a JPEG holds a color profile of at most 16707345 bytes"):
        write_picture(picture, tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [OverflowError("int too large"), ValueError("odd"), SystemError("tile"), OSError("-2")]
)
def test_what_an_encoder_raises_is_an_error_of_ours(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    picture = Image.new("RGB", (2, 2))
    monkeypatch.setattr(Image.Image, "save", fail)
    for name in ("a.gif", "a.png"):
        with pytest.raises(ImageFileError, match=str(error)) as caught:
            write_result((2, 2), tmp_path / name) if name == "a.gif" else write_picture(picture, tmp_path / name)
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

"""Transparency from file to file: clear pixels, partly transparent ones, backgrounds, and profiles that are kept."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Pixels
from image_files import AWKWARD, needs_awkward, swapped_profile
from oracles import drawing, seen
from PIL import Image, ImageCms
from sklearn.cluster import KMeans as Reference

import gpuquant
from gpuquant.colors.alpha import laid_onto, weighted_by_alpha, without_weight
from gpuquant.colors.spaces import SRGB
from gpuquant.errors import ArgumentError
from gpuquant.fitting import problem as problem_module
from gpuquant.fitting.problem import PaletteProblem
from gpuquant.images.reading import photo_of, read_photo
from gpuquant.ops import levels_of


def test_weighting_by_alpha_is_undone() -> None:
    colors = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (5000, 4)).astype(np.uint8))
    np.testing.assert_allclose(weighted_by_alpha(colors), seen(colors.numpy()))
    expected = torch.where(colors[:, 3:] == 0, 0, colors)
    assert torch.equal(without_weight(weighted_by_alpha(colors)), expected)


@pytest.mark.parametrize("kind", ["clear and opaque", "all kinds", "opaque and partly"])
@pytest.mark.parametrize("n_colors", [2, 7, 60])
def test_the_result_is_what_it_says(kind: str, n_colors: int) -> None:
    pixels = drawing(kind)
    result = gpuquant.quantize(pixels, n_colors)
    palette, written = seen(result.palette.rows), seen(result.to_array())
    assert result.palette.rows.shape == (n_colors, 4)
    apart = np.square(seen(pixels) - written).sum(axis=-1)
    assert result.mse == pytest.approx(apart.mean(), rel=1e-9)
    assert result.psnr == pytest.approx(10 * np.log10(255**2 / (apart.mean() / 4)))
    np.testing.assert_array_equal(result.counts, np.bincount(result.labels.ravel(), minlength=n_colors))
    assert (np.diff(result.counts) <= 0).all()
    assert result.counts.min() > 0
    clear = pixels[..., 3] == 0
    if clear.any():
        assert (result.palette.rows[:, 3] == 0).sum() == 1
        np.testing.assert_array_equal(result.to_array()[clear], np.zeros((clear.sum(), 4)))
    every = np.square(seen(pixels)[:, :, None] - palette).sum(axis=-1)
    if kind == "clear and opaque":  # opaque pixels stay opaque, be they ever so dark
        every[:, :, result.palette.rows[:, 3] == 0] = np.inf
    assert (apart[~clear] <= every[~clear].min(axis=-1) + 1e-9).all()


def test_the_error_is_that_of_scikit_learn_or_lower() -> None:
    pixels = drawing("opaque and partly")
    found = [gpuquant.quantize(pixels, 12, random_state=seed).mse for seed in range(3)]
    points = seen(pixels).reshape(-1, 4)
    theirs = [Reference(12, n_init=1, random_state=seed).fit(points).inertia_ / len(points) for seed in range(3)]
    assert np.mean(found) <= 1.03 * np.mean(theirs)


def test_opaque_colors_are_clustered_as_alone() -> None:
    pixels = drawing("clear and opaque")
    opaque = pixels[pixels[..., 3] == 255][:, :3]
    result, alone = gpuquant.quantize(pixels, 8), gpuquant.quantize(opaque[None], 7)
    visible = result.palette.rows[:, 3] == 255
    np.testing.assert_array_equal(result.palette.rows[visible, :3], alone.palette.rows)
    assert result.mse * pixels[..., 0].size == pytest.approx(alone.mse * len(opaque))


def test_few_colors_are_kept_and_one_is_shared() -> None:
    pixels = np.array([[[9, 8, 7, 0], [1, 2, 3, 0], [5, 6, 7, 128], [200, 0, 0, 255]]], np.uint8)
    result = gpuquant.quantize(pixels, 3)
    assert result.palette.hex == ("#00000000", "#05060780", "#c80000ff")
    assert result.mse == 0
    only = gpuquant.quantize(pixels, 1)
    assert only.palette.alpha is not None
    assert int(only.palette.alpha[0]) == round((0 + 0 + 128 + 255) / 4)
    clear = gpuquant.quantize(np.zeros((2, 2, 4), np.uint8), 4)
    assert clear.palette.hex == ("#00000000",)


def test_no_transparency_is_no_alpha(china: Pixels) -> None:
    opaque = np.dstack([china, np.full(china.shape[:2], 255, np.uint8)])
    for image in (opaque, torch.from_numpy(opaque), Image.fromarray(opaque)):
        result, expected = gpuquant.quantize(image, 5), gpuquant.quantize(china, 5)
        assert result.palette.alpha is None
        np.testing.assert_array_equal(np.asarray(result.labels), expected.labels)


@pytest.mark.parametrize("n_colors", [6, 300])
def test_a_tensor_is_an_array(n_colors: int) -> None:
    pixels = drawing("all kinds")
    result, expected = gpuquant.quantize(torch.from_numpy(pixels), n_colors), gpuquant.quantize(pixels, n_colors)
    assert isinstance(result.labels, torch.Tensor)
    np.testing.assert_array_equal(result.labels.numpy(), expected.labels)
    np.testing.assert_array_equal(result.palette.rows, expected.palette.rows)


def test_given_centers_have_no_alpha() -> None:
    with pytest.raises(ArgumentError, match="background"):
        gpuquant.quantize(drawing("all kinds"), 2, init=np.zeros((2, 3)))


def test_a_background_is_behind_it() -> None:
    pixels = drawing("all kinds")
    wide, behind = pixels.astype(np.float64), np.array([255, 128, 0])
    exact = (wide[..., :3] * wide[..., 3:] + behind * (255 - wide[..., 3:])) / 255
    onto = laid_onto(torch.from_numpy(pixels.reshape(-1, 4)), (255, 128, 0)).numpy().reshape(40, 30, 3)
    assert np.abs(onto - exact).max() <= 0.5 + 1e-9
    for color in ("#ff8000", (255, 128, 0)):
        result = gpuquant.quantize(pixels, 9, background=color)
        assert result.palette.alpha is None
        expected = gpuquant.quantize(onto, 9)
        np.testing.assert_array_equal(result.to_array(), expected.to_array())
        assert result.mse == expected.mse


@pytest.mark.parametrize("color", ["whiteish", "#12", (1, 2), (1, 2, 256), "#11223344", None.__class__])
def test_backgrounds_that_are_no_colors(color: object) -> None:
    with pytest.raises(ArgumentError, match="background="):
        gpuquant.quantize(drawing("all kinds"), 2, background=color)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "n_colors"), [("clear and opaque", 4), ("all kinds", 5), ("all kinds", 300)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
def test_files_hold_it(kind: str, n_colors: int, suffix: str, tmp_path: Path) -> None:
    result, path = gpuquant.quantize(drawing(kind), n_colors), tmp_path / f"out{suffix}"
    if suffix == ".gif" and kind == "all kinds":
        with pytest.raises(ArgumentError, match="a GIF holds"):
            result.save(path)
        assert not path.exists()
        return
    result.save(path)
    with Image.open(path) as image:
        if suffix == ".png":
            assert image.mode == ("P" if n_colors <= 256 else "RGBA")
        found = np.asarray(image.convert("RGBA"))
    expected = result.to_array()
    np.testing.assert_array_equal(found[..., 3], expected[..., 3])
    np.testing.assert_array_equal(found[expected[..., 3] > 0], expected[expected[..., 3] > 0])


@pytest.mark.parametrize("n_colors", [3, 20])
def test_many_colors_are_folded_first(n_colors: int, china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """k-means on the means of cells, settled on all colors, is about as good."""
    alpha = np.broadcast_to(np.linspace(0, 255, china.shape[1]), china.shape[:2]).astype(np.uint8)
    pixels = np.dstack([china, alpha])
    expected = gpuquant.quantize(pixels, n_colors)
    points = torch.from_numpy(seen(pixels).reshape(-1, 4))
    weights = torch.from_numpy(np.random.RandomState(0).randint(1, 5, len(points)))
    monkeypatch.setattr(problem_module, "MOST_SEARCHED", 8000)
    levels = PaletteProblem(torch.from_numpy(pixels.reshape(-1, 4)), weights, SRGB).levels(n_colors)
    assert len(levels[-1]) < len(points) / 4
    assert [len(level) for level in levels] == sorted(len(level) for level in levels)
    for level in levels:
        assert level.counts.sum() == weights.sum()
        sums = level.counts.double() @ levels_of(level.points) * 256 / 255
        np.testing.assert_allclose(sums, weights.double() @ points, rtol=1e-4)  # means are rounded
        assert 0 < level.error < 4 * 16**2
    assert gpuquant.quantize(pixels, n_colors).mse <= 1.05 * expected.mse


@pytest.mark.parametrize("alpha", [0, 99, 255])
def test_a_gif_of_one_entry(alpha: int, tmp_path: Path) -> None:
    palette = gpuquant.Palette(np.array([[9, 8, 7]], np.uint8), np.array([alpha], np.uint8))
    pixels = np.full((3, 3, 4), 255, np.uint8)
    result = gpuquant.apply_palette(pixels, palette)
    if alpha == 99:
        with pytest.raises(ArgumentError, match="partly transparent"):
            result.save(tmp_path / "one.gif")
        return
    result.save(tmp_path / "one.gif")
    with Image.open(tmp_path / "one.gif") as image:
        found = np.asarray(image.convert("RGBA"))
    assert (found[..., 3] == alpha).all()


def test_what_is_opaque_for_the_most_part_stays_opaque() -> None:
    """A few soft edges beside opaque areas of the same colors."""
    pixels = drawing("clear and opaque")
    pixels[:, 14:16, 3] = 200
    for n_colors in (4, 8, 16):
        result = gpuquant.quantize(pixels, n_colors)
        found = result.to_array()[pixels[..., 3] == 255]
        assert (found[:, 3] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La", "P index", "P bytes", "L", "1", "RGB"])
def test_every_kind_of_transparency_is_read(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(drawing("all kinds"))
    if mode in ("P index", "P bytes"):
        image = image.convert("RGB").quantize(9)
        image.info["transparency"] = 3 if mode == "P index" else bytes([0, 90, 255, 17])
    elif mode == "RGB":
        image = image.convert("RGB")
        image.info["transparency"] = image.getpixel((3, 3))
    elif mode in ("L", "1"):
        image = image.convert(mode)
        image.info["transparency"] = image.getpixel((3, 3))
    else:
        alpha = image.getchannel("A")
        for step in ["LA", "La"] if mode == "La" else [mode]:
            image = image.convert(step)
        if mode == "PA":
            image.putalpha(alpha)  # which old versions of Pillow lose
    expected = image.convert("LA").convert("RGBA") if mode == "La" else image.convert("RGBA")
    np.testing.assert_array_equal(photo_of(image).pixels, np.asarray(expected))


def test_one_gray_of_sixteen_bits_is_clear(tmp_path: Path) -> None:
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(levels).save(tmp_path / "gray.png", transparency=1000)
    pixels = read_photo(tmp_path / "gray.png").pixels
    assert pixels.shape == (256, 256, 4)
    assert (pixels.reshape(-1, 4)[:, 3] == np.where(np.arange(65_536) == 1000, 0, 255)).all()


def test_a_profile_is_applied_under_alpha(tmp_path: Path) -> None:
    pixels, profile = drawing("all kinds"), swapped_profile()
    Image.fromarray(pixels).save(tmp_path / "p.png", icc_profile=profile.tobytes())
    opaque = Image.fromarray(pixels[..., :3])
    expected = ImageCms.profileToProfile(opaque, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert expected is not None
    both = np.dstack([np.asarray(expected), pixels[..., 3]])
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png").in_srgb(), both)
    result, plain = gpuquant.quantize(tmp_path / "p.png", 6), gpuquant.quantize(both, 6)
    assert sorted(result.palette.hex) == sorted(plain.palette.hex)
    assert result.mse == pytest.approx(plain.mse)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("n_colors", [5, 40, 300])
def test_a_profile_is_kept(n_colors: int, suffix: str, china: Pixels, tmp_path: Path) -> None:
    profile = swapped_profile().tobytes()
    Image.fromarray(china).save(tmp_path / "photo.png", icc_profile=profile)
    result = gpuquant.quantize(tmp_path / "photo.png", n_colors, keep_profile=True)
    np.testing.assert_array_equal(result.to_array(), gpuquant.quantize(china, n_colors).to_array())
    result.save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.info["icc_profile"] == profile
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), result.to_array())
    assert result.side_by_side(tmp_path / "photo.png").info["icc_profile"] == profile
    with pytest.raises(ArgumentError, match="a GIF holds"):
        result.save(tmp_path / "out.gif")


@needs_awkward
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_gray_profile_makes_no_colors_gray(mode: str, china: Pixels, tmp_path: Path) -> None:
    """One that was embedded by mistake is told, and the colors stay."""
    with Image.open(AWKWARD / "sharp_16-bit-grey-alpha.png") as gray:
        profile = gray.info["icc_profile"]
    image = Image.fromarray(china).convert(mode)
    if mode == "RGBA":
        image.putpixel((0, 0), (1, 2, 3, 0))
    image.save(tmp_path / "photo.png", icc_profile=profile)
    photo = read_photo(tmp_path / "photo.png")
    np.testing.assert_array_equal(photo.pixels, np.asarray(image))
    assert photo.notes == ("the embedded color profile cannot be used; colors are taken for sRGB",)


def test_profiles_that_cannot_be_kept_are_told(china: Pixels, tmp_path: Path) -> None:
    Image.fromarray(china).convert("LAB").save(tmp_path / "lab.tif")
    Image.fromarray(china).save(tmp_path / "plain.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gpuquant.quantize(tmp_path / "plain.png", 3, keep_profile=True).icc_profile is None
    with pytest.warns(UserWarning, match=r"lab\.tif: only RGB profiles can be kept"):
        gpuquant.quantize(tmp_path / "lab.tif", 3, keep_profile=True)

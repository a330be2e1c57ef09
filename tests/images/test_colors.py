"""Colors of files without an ICC profile: what is said of them is followed, or told by name."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from image_files import chunk, png, samples, swapped_profile, tiff
from PIL import Image, ImageCms

import gpuquant
from gpuquant.images.reading import Photo, photo_of, read_photo

BT709_D65 = 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000
P3_D65 = 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000


def gamma(exponent: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", exponent))


def corners(levels: tuple[int, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *levels))


def coded(*numbers: int) -> bytes:
    return chunk(b"cICP", bytes(numbers))


def embedded(profile: ImageCms.ImageCmsProfile) -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile.tobytes()))


def read(folder: Path, levels: list[int], *chunks: bytes) -> Photo:
    """A PNG of one row of RGB."""
    (folder / "a.png").write_bytes(png(8, 2, len(levels) // 3, [bytes(levels)], *chunks))
    return read_photo(folder / "a.png")


GRAYS = [level for level in (0, 1, 64, 128, 192, 255) for _ in range(3)]
# of linear levels sRGB is, for 64 for example, 1.055 * 0.25098 ** (1 / 2.4) - 0.055 = 0.5381, that is 137.2
LINEAR = [0, 13, 137, 188, 225, 255]


def encoded(linear: np.ndarray) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1."""
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    found: npt.NDArray[np.float64] = np.rint(255 * curve)
    return found


def test_a_linear_png_is_converted(tmp_path: Path) -> None:
    photo = read(tmp_path, GRAYS, gamma(100_000))
    assert np.abs(photo.in_srgb()[0, :, 0].astype(int) - LINEAR).max() <= 1
    assert photo.notes == ()


@pytest.mark.parametrize("exponent", [100_000, 55_556, 38_462, 62_500])
def test_gammas_are_those_of_the_specification(exponent: int, tmp_path: Path) -> None:
    levels = np.arange(256)
    photo = read(tmp_path, [level for level in range(256) for _ in range(3)], gamma(exponent))
    expected = encoded((levels / 255) ** (100_000 / exponent))
    assert np.abs(photo.in_srgb()[0].astype(int) - expected[:, None]).max() <= 1
    (tmp_path / "gray.png").write_bytes(png(8, 0, 256, [bytes(range(256))], gamma(exponent)))
    np.testing.assert_array_equal(read_photo(tmp_path / "gray.png").pixels[0], expected)


def test_gray_of_16_bits_is_converted_too(tmp_path: Path) -> None:
    row = samples([level * 257 for level in (0, 1, 64, 128, 192, 255)], order=">")
    (tmp_path / "gray.png").write_bytes(png(16, 0, 6, [row], gamma(100_000)))
    assert read_photo(tmp_path / "gray.png").pixels[0].tolist() == LINEAR
    row = samples([part for level in (0, 1, 64, 128, 192, 255) for part in (level * 257, 65535)], order=">")
    (tmp_path / "gray.png").write_bytes(png(16, 4, 6, [row], gamma(100_000)))
    assert np.abs(read_photo(tmp_path / "gray.png").in_srgb().reshape(6, -1)[:, 0].astype(int) - LINEAR).max() <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        (gamma(45_455),),
        (gamma(45_455), corners(BT709_D65)),
        (corners(BT709_D65),),
        (gamma(100_000), corners(P3_D65), chunk(b"sRGB", b"\0")),
        (gamma(100_000), chunk(b"sRGB", b"\0"), coded(1, 13, 0, 1)),
        (gamma(45_470), corners((31270, 32900, 64010, 32990, 30010, 60010, 15000, 6010))),
    ],
)
def test_srgb_changes_nothing(chunks: tuple[bytes, ...], tmp_path: Path) -> None:
    photo = read(tmp_path, GRAYS, *chunks)
    assert (photo.to_srgb, photo.icc_profile, photo.notes) == (None, None, ())


def test_chromaticities_are_followed(tmp_path: Path) -> None:
    """Display P3 by cHRM and by cICP: the matrix between linear levels is that of CSS Color 4."""
    stored = [128, 64, 191]
    linear = np.array([0.21586, 0.05127, 0.52100])  # by sRGB's curve
    matrix = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09827]])
    expected = encoded(matrix @ linear)
    for photo in (read(tmp_path, stored, corners(P3_D65)), read(tmp_path, stored, coded(12, 13, 0, 1))):
        assert np.abs(photo.in_srgb()[0, 0] - expected).max() <= 1
        assert photo.notes == ()
        assert photo.icc_profile is not None


def test_cicp_comes_before_the_profile_and_that_before_gamma(tmp_path: Path) -> None:
    profile = swapped_profile()
    stored = [200, 10, 30]
    photo = read(tmp_path, stored, coded(1, 13, 0, 1), embedded(profile), gamma(100_000))
    assert (photo.to_srgb, photo.notes) == (None, ())
    photo = read(tmp_path, stored, gamma(100_000), embedded(profile), chunk(b"sRGB", b"\0"))
    assert photo.icc_profile == profile.tobytes()


@pytest.mark.parametrize(
    ("chunks", "name"),
    [
        ((coded(9, 16, 0, 1),), r"cICP chunk \(9, 16, 0, 1\)"),  # PQ
        ((coded(9, 18, 0, 1), gamma(45_455)), r"cICP chunk \(9, 18, 0, 1\)"),  # HLG
        ((coded(1, 13, 0, 0),), "cICP chunk"),  # narrow range
        ((gamma(0),), "gAMA chunk"),
        ((gamma(4_000_000_000),), "gAMA chunk"),
        ((gamma(50_000), corners((0,) * 8)), "gAMA chunk"),
        ((corners((31270, 32900, 64000, 33000, 64000, 33000, 64000, 33000)),), "cHRM chunk"),
        ((corners((4_000_000_000,) * 8),), "cHRM chunk"),
    ],
)
def test_what_cannot_be_followed_is_told_by_name(chunks: tuple[bytes, ...], name: str, tmp_path: Path) -> None:
    photo = read(tmp_path, GRAYS, *chunks)
    assert photo.to_srgb is None
    assert len(photo.notes) == 1
    assert name.replace("\\", "") in photo.notes[0]
    assert photo.notes[0].endswith("cannot be followed; colors are taken for sRGB")


def test_a_profile_that_cannot_be_unpacked_is_a_note(tmp_path: Path) -> None:
    photo = read(tmp_path, GRAYS, chunk(b"iCCP", b"name\0\0no zlib at all"))
    assert photo.notes == ("the embedded color profile cannot be used; colors are taken for sRGB",)


def test_levels_can_be_kept(tmp_path: Path) -> None:
    """With a profile that says the same as the chunk."""
    read(tmp_path, GRAYS, gamma(100_000))
    result = gpuquant.quantize(tmp_path / "a.png", 8, keep_profile=True)
    assert np.asarray(result.to_array())[0, :, 0].tolist() == [0, 1, 64, 128, 192, 255]
    result.save(tmp_path / "out.png")
    assert np.abs(read_photo(tmp_path / "out.png").in_srgb()[0, :, 0].astype(int) - LINEAR).max() <= 1


def exif_of(color_space: int | None, index: bytes = b"") -> bytes:
    """An EXIF block: the first directory at 8, that of EXIF at 26, that of interoperability at 56."""
    block = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 34665, 4, 1, 26, 0)
    entries = [] if color_space is None else [struct.pack("<HHIHH", 40961, 3, 1, color_space, 0)]
    entries += [struct.pack("<HHII", 40965, 4, 1, 56)] if index else []
    block += (struct.pack("<H", len(entries)) + b"".join(entries)).ljust(30, b"\0")
    return b"Exif\0\0" + block + struct.pack("<HHHI4sI", 1, 1, 2, 4, index, 0)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_adobe_rgb_by_exif_is_converted(suffix: str, tmp_path: Path) -> None:
    """Its green (100, 200, 100): linear 0.12740, 0.58610, 0.12740, by the matrix to sRGB out of red's range."""
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100, "subsampling": 0}
    Image.new("RGB", (8, 8), (150, 150, 150)).save(path, exif=exif_of(0xFFFF, b"R03\0"), **options)
    photo = read_photo(path)
    # (150 / 255) ** 2.19921875 = 0.31133, of which sRGB is 0.5941: 151.5
    assert np.abs(photo.in_srgb()[4, 4].astype(int) - 151).max() <= 1
    Image.new("RGB", (8, 8), (200, 100, 100)).save(path, exif=exif_of(0xFFFF, b"R03\0"), **options)
    # linear 0.58610, 0.12767: red is 1.39836 * 0.58610 - 0.39836 * 0.12767 = 0.76872, that is 226.2
    assert abs(int(read_photo(path).in_srgb()[4, 4, 0]) - 226) <= 2


@pytest.mark.parametrize(
    ("color_space", "index", "words"),
    [(1, b"", ""), (1, b"R98\0", ""), (None, b"", ""), (0xFFFF, b"R98\0", "uncalibrated"), (2, b"", "(2)")],
)
def test_color_space_of_exif(color_space: int | None, index: bytes, words: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (200, 100, 100))
    image.save(tmp_path / "a.jpg", exif=exif_of(color_space, index))
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.to_srgb is None
    assert len(photo.notes) == bool(words)
    assert words in "".join(photo.notes)
    profile = swapped_profile().tobytes()
    image.save(tmp_path / "b.jpg", exif=exif_of(color_space, index), icc_profile=profile)
    photo = read_photo(tmp_path / "b.jpg")
    assert (photo.icc_profile, photo.notes) == (profile, ())


def srgb_table() -> list[int]:
    levels = np.arange(256) / 255
    return [
        round(65535 * level) for level in np.where(levels < 0.04, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    ]


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({318: (5, (3127, 10000, 3290, 10000))}, ""),
        ({319: (5, tuple(part for x in (64, 33, 30, 60, 15, 6) for part in (x, 100)))}, ""),
        ({301: (3, tuple(srgb_table()))}, ""),
        ({318: (5, (3457, 10000, 3585, 10000))}, "WhitePoint"),
        ({319: (5, tuple(part for x in (64, 33, 21, 71, 15, 6) for part in (x, 100)))}, "PrimaryChromaticities"),
        ({301: (3, tuple(257 * level for level in range(256)))}, "TransferFunction"),
        ({301: (3, (1, 2, 3)), 318: (5, (1, 0, 1, 1))}, "WhitePoint and TransferFunction"),
    ],
)
def test_tags_of_a_tiff(tags: dict[int, tuple[int, tuple[int, ...]]], name: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(bytes([1, 2, 3]), 1, 1, tags, bits=(8, 8, 8), photometric=2))
    expected = (f"the file's {name} cannot be followed; colors are taken for sRGB",) if name else ()
    assert read_photo(tmp_path / "a.tif").notes == expected


def test_adobe_rgb_by_exif_in_png_and_tiff(tmp_path: Path) -> None:
    """EXIF holds where no chunk says otherwise."""
    block = exif_of(0xFFFF, b"R03\0")
    row = [150, 150, 150, 200, 100, 100]
    photo = read(tmp_path, row, chunk(b"eXIf", block.removeprefix(b"Exif\0\0")))
    assert np.abs(photo.in_srgb()[0].astype(int)[:, 0] - [151, 226]).max() <= 1  # see above
    for said in (chunk(b"sRGB", b"\0"), gamma(45_455)):
        photo = read(tmp_path, row, said, chunk(b"eXIf", block.removeprefix(b"Exif\0\0")))
        assert (photo.to_srgb, photo.notes) == (None, ())
    (tmp_path / "a.tif").write_bytes(adobe_tiff(bytes(row)))
    photo = read_photo(tmp_path / "a.tif")
    assert np.abs(photo.in_srgb()[0].astype(int)[:, 0] - [151, 226]).max() <= 1
    assert photo.notes == ()


def adobe_tiff(row: bytes) -> bytes:
    """A TIFF in Adobe RGB whose directory of EXIF lies at its end."""
    end = len(tiff(row, len(row) // 3, 1, {34665: (4, (0,))}, bits=(8, 8, 8), photometric=2))
    exif = struct.pack("<HHHIHHHHIII", 2, 40961, 3, 1, 0xFFFF, 0, 40965, 4, 1, end + 30, 0)
    index = struct.pack("<HHHI4sI", 1, 1, 2, 4, b"R03\0", 0)
    return tiff(row, len(row) // 3, 1, {34665: (4, (end,))}, bits=(8, 8, 8), photometric=2) + exif + index


@pytest.mark.parametrize(
    "chunks",
    [
        (gamma(100_000),),
        (gamma(100_000), corners(P3_D65)),
        (gamma(100_000), chunk(b"sRGB", b"\0")),
        (corners(P3_D65),),
        (gamma(0),),
        (chunk(b"eXIf", exif_of(0xFFFF, b"R03\0").removeprefix(b"Exif\0\0")),),
        (chunk(b"iCCP", b"name\0\0no zlib at all"), gamma(100_000)),
        (),
    ],
)
def test_an_opened_png_gives_what_its_file_gives(chunks: tuple[bytes, ...], tmp_path: Path) -> None:
    """An image that Pillow converts it to gives the same."""
    from_file = read(tmp_path, [100, 150, 200], *chunks)
    with Image.open(tmp_path / "a.png") as image:
        before = dict(image.info)
        for each in (image, image.convert("RGB")):
            photo = photo_of(each)
            np.testing.assert_array_equal(photo.in_srgb(), from_file.in_srgb())
            assert photo.notes == from_file.notes
        assert image.info.items() >= before.items()


def test_an_opened_photo_in_adobe_rgb_is_converted(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.webp"):
        Image.new("RGB", (8, 8), (200, 100, 100)).save(tmp_path / name, exif=exif_of(0xFFFF, b"R03\0"))
        with Image.open(tmp_path / name) as image:
            photo, from_file = photo_of(image), read_photo(tmp_path / name)
        assert photo.icc_profile is not None
        assert photo.icc_profile == from_file.icc_profile
        np.testing.assert_array_equal(photo.in_srgb(), from_file.in_srgb())


@pytest.mark.parametrize("info", [{"gamma": "a"}, {"gamma": -1.0}, {"chromaticity": 5}, {"gamma": float("inf")}])
def test_what_people_write_beside_an_image_never_costs_it(info: dict[str, object]) -> None:
    image = Image.new("RGB", (2, 2), (1, 2, 3))
    image.info.update(info)
    photo = photo_of(image)
    assert (photo.to_srgb, photo.notes) == (None, ())

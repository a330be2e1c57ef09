import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import torch
from commands import process, run
from conftest import Pixels
from PIL import Image

from gpuquant import ops, quantize
from gpuquant.fitting import search


@pytest.fixture
def photo(china: Pixels, tmp_path: Path) -> Path:
    Image.fromarray(china[:60, :80]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_photo_becomes_an_indexed_png_beside_it(photo: Path) -> None:
    code, out, _ = process("quantize", photo, "-k", 5)
    written = photo.with_name("photo-5-colors.png")
    assert code == 0
    assert str(written) in out
    assert "MSE" in out
    assert "\x1b" not in out  # no terminal, no colors
    with Image.open(written) as image:
        assert image.mode == "P"
        assert len(np.unique(np.asarray(image))) == 5


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    code, out, err = process("quantize", tmp_path / "missing.jpg")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "missing.jpg" in err
    assert "Traceback" not in err


def test_json_holds_the_result(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(["quantize", photo, "-k", 3, "--json"], monkeypatch, capsys)
    result = json.loads(out)
    assert code == 0
    assert len(result["palette"]) == 3
    assert sum(result["counts"]) == 60 * 80
    assert (result["width"], result["height"]) == (80, 60)
    assert set(result["seconds"]) == {"read", "count", "cluster", "map"}


def test_other_outputs(photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    both, errors, palette = photo.with_name("both.png"), photo.with_name("errors.png"), photo.with_name("palette.hex")
    outputs = ["--side-by-side", both, "--palette", palette, "--error-map", errors]
    arguments = ["quantize", photo, photo.with_name("out.gif"), "-k", 4, "--effort", "best", *outputs]
    code, out, _ = run(arguments, monkeypatch, capsys)
    assert code == 0
    with Image.open(both) as image:
        assert image.size == (2 * 80 + 2, 60 + 2 + 6)
    with Image.open(errors) as image:
        assert image.size == (80, 60)
    lines = palette.read_text().split()
    assert len(lines) == 4
    assert all(line in out for line in lines)


def test_what_palette_is_wanted(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, settings, name in (
        (["--target-psnr", "22.5"], {"target_psnr": 22.5}, "photo-22.5-dB.png"),
        (
            ["--color-space", "oklab", "--weighting", "0.5"],
            {"color_space": "oklab", "weighting": 0.5},
            "photo-8-colors.png",
        ),
    ):
        assert run(["quantize", photo, *arguments], monkeypatch, capsys)[0] == 0
        expected = quantize(photo, **settings)
        with Image.open(photo.with_name(name)) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected.to_array())
        code, out, _ = run(["palette", photo, *arguments], monkeypatch, capsys)
        assert code == 0
        assert [line.split("\t")[0] for line in out.splitlines()] == list(expected.palette.hex)
        assert run(["batch", photo, "-o", photo.with_name("out"), "--force", *arguments], monkeypatch, capsys)[0] == 0
        with Image.open(photo.with_name("out") / "photo.png") as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected.to_array())


def test_a_target_out_of_reach_is_a_failed_job(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search, "MAX_COLORS", 16)
    for command in (["quantize", photo], ["palette", photo]):
        code, out, err = run([*command, "--target-psnr", "60"], monkeypatch, capsys)
        assert (code, out) == (1, "")
        assert "16 colors reach" in err
        assert err.count("\n") == 1
    output = photo.with_name("out")
    code, _, err = run(["batch", photo, "-o", output, "--target-psnr", "60"], monkeypatch, capsys)
    assert code == 1
    assert f"{photo}: 16 colors reach" in err
    assert list(output.iterdir()) == []


def test_nothing_is_overwritten_unasked(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photo.with_name("out.png")
    out.write_bytes(b"precious")
    code, _, err = run(["quantize", photo, out], monkeypatch, capsys)
    assert code == 2
    assert "--force" in err
    assert out.read_bytes() == b"precious"
    assert run(["quantize", photo, out, "--force"], monkeypatch, capsys)[0] == 0
    assert out.read_bytes() != b"precious"


def test_the_photo_itself_is_never_the_output(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    code, _, err = run(["quantize", photo, photo, "--force"], monkeypatch, capsys)
    assert code == 2
    assert "photo.png" in err
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-k", "0"], 2, "--colors"),
        (["-k", "5000"], 2, "4096"),
        (["--side-by-side", "both.gif"], 2, ".jpg"),
        (["-k", "many"], 2, "--colors"),
        (["out.jpg"], 2, ".png"),
        (["--nonsense"], 2, "nonsense"),
        (["--target-psnr", "30", "-k", "8"], 2, "exclude each other"),
        (["--target-psnr", "-3"], 2, "--target-psnr -3.0 must be"),
        (["--color-space", "lab"], 2, "'--color-space': 'lab' is not one of 'srgb', 'oklab'"),
        (["--dither-strength", "0.5"], 2, "name one with --dither"),
        (["--weighting", "2"], 2, "--weighting"),
        (["--device", "mps"], 1, "mps"),
    ],
)
def test_bad_usage(
    arguments: list[str],
    code: int,
    words: str,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, out, err = run(["quantize", photo, *arguments], monkeypatch, capsys)
    assert (found, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert list(photo.parent.iterdir()) == [photo]


@pytest.mark.parametrize(("arguments", "words"), [(["quantize"], "PHOTO"), (["dither"], "dither"), (["--k"], "--k")])
def test_bad_usage_is_one_line_that_names_the_help(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(arguments, monkeypatch, capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert "--help" in err


def test_no_arguments_show_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run([], monkeypatch, capsys)
    assert code == 2
    assert "quantize" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_standard_output_is_one_line(photo: Path) -> None:
    command = [sys.executable, "-m", "gpuquant", "quantize", str(photo)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "standard output" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_an_interrupt_leaves_nothing_half_done(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def half(_: Image.Image, file: IO[bytes], *__: object, **___: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", half)
    code, out, err = run(["quantize", photo], monkeypatch, capsys)
    assert (code, out) == (130, "")
    assert err == "gpuquant: interrupted\n"
    assert list(photo.parent.iterdir()) == [photo]


def test_info_names_versions_and_devices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["info"], monkeypatch, capsys)
    assert code == 0
    assert all(word in out for word in ("gpuquant", "torch", "loops     compiled by Numba", "threads", "cuda"))


def test_info_says_what_runs_on_each_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["First", "Second"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 2**31))
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    monkeypatch.setattr(ops, "kernels_in_use", lambda device: f"those of {names[device.index]}")
    _, out, _ = run(["info"], monkeypatch, capsys)
    assert "cuda:0    First, 1.0 of 2.0 GiB free\nkernels   on cuda:0: those of First\ncuda:1    Second" in out
    assert "kernels   on cuda:1: those of Second" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "quantize"),
        (["quantize"], "--side-by-side"),
        *(
            ([name], f"Example: gpuquant {name}")
            for name in ("quantize", "batch", "report", "palette", "apply", "bench", "info")
        ),
    ],
)
def test_help(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run([*arguments, "--help"], monkeypatch, capsys)
    assert code == 0
    assert words in out


def test_what_was_lost_in_reading_is_one_line(tmp_path: Path) -> None:
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    code, _, error = process("quantize", tmp_path / "gray.png", "-k", 4)
    assert code == 0
    assert error == f"gpuquant: {tmp_path / 'gray.png'}: 16 bits a channel are reduced to 8\n"


def test_the_limit_of_pixels_and_the_compression_are_options(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(["quantize", photo, "--max-pixels", 100], monkeypatch, capsys)
    assert code == 1
    assert "more than the limit of 100 pixels;" in error
    sizes = []
    for level in (0, 9):
        out = photo.with_name(f"level-{level}.png")
        assert run(["quantize", photo, out, "-k", 40, "--compression", level], monkeypatch, capsys)[0] == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_photos_are_dithered(photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dither", "blue-noise", "--dither-strength", 0.5, "-k", 4]
    expected = quantize(photo, 4, dither="blue-noise", dither_strength=0.5).labels
    assert not np.array_equal(expected, quantize(photo, 4).labels)
    assert run(["quantize", photo, photo.with_name("one.png"), *options], monkeypatch, capsys)[0] == 0
    assert run(["batch", photo, "-o", photo.parent / "many", *options], monkeypatch, capsys)[0] == 0
    for path in (photo.with_name("one.png"), photo.parent / "many" / "photo.png"):
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected)
    code, _, err = run(["quantize", photo, photo.with_name("two.png"), "--dither", "noise"], monkeypatch, capsys)
    assert (code, "'blue-noise', 'bayer'" in err) == (2, True)


def test_shells_complete_commands_and_options() -> None:
    command = [sys.executable, "-m", "gpuquant"]
    for words, expected in (("gpuquant qu", "quantize"), ("gpuquant quantize --err", "--error-map")):
        asked = {"_GPUQUANT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False)
        assert done.stdout.split() == [expected], done.stderr


@pytest.mark.parametrize("given", [["quantize"], ["apply", "#000,#fff"]])
def test_nothing_is_printed_quietly(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (2, 2)).save("a.png")
    assert run([*given, "a.png", "x.png", "-q", "--memory", "10MB"], monkeypatch, capsys) == (0, "", "")
    assert Path("x.png").is_file()
    code, out, _ = run([*given, "a.png", "x.png", "--force", "-q", "--json"], monkeypatch, capsys)
    assert (code, json.loads(out)["written"]) == (0, ["x.png"])
    assert run([*given, "b.png", "y.png", "-q"], monkeypatch, capsys) == (1, "", "gpuquant: b.png: no such file\n")

"""Large photos as a process: interrupts, kills and full disks at random moments of each stage leave nothing."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image, ImageFile

from gpuquant.images.vips import library

TELLS = """
import os, resource, sys
from gpuquant.cli import stages
from gpuquant.cli.app import program
full = sys.argv.pop(1)
def tell(self, stage, share=0.0):
    os.write(1, f"{stage} {share}\\n".encode())
    wanted, moment = full.split() if full else ("", 0)
    if stage == wanted and (stage == "cluster" or share >= float(moment)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
stages.Stages.__call__ = tell
program()
"""  # from a moment on no file takes another byte, as on a disk that is full
N_MOMENTS = 5
FORMATS: dict[str, dict[str, Any]] = {  # and those of the results
    "jpg to png": {"quality": 95},
    "tif to tif": {"compression": "tiff_adobe_deflate"},
    "png to png": {"compress_level": 1},
    "npy to tif": {},
}
STAGES = [
    ("read", "none"),
    ("count", "none"),
    ("cluster", "none"),
    ("map", "none"),
    ("map", "floyd-steinberg"),
    ("write", "floyd-steinberg"),
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library() is None, reason="pyvips is not there"),
    pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="unnamed files are Linux's"),
]


class Photos:
    """A photo of 60 megapixels and many colors; lying on its side it is turned by way of a file when it is read."""

    def __init__(self, folder: Path, formats: str) -> None:
        ending, self.result = formats.split(" to ")
        self.upright, self.lying = (folder / f"{name}.{ending}" for name in ("upright", "lying"))
        steps = np.random.default_rng(0).integers(-2, 3, (1000, 1000, 3)).cumsum(axis=0).cumsum(axis=1)
        self._write(np.tile((steps // 64 % 256).astype(np.uint8), (10, 6, 1)), FORMATS[formats])

    def _write(self, pixels: Pixels, options: dict[str, Any]) -> None:
        if self.upright.suffix == ".npy":  # which is never turned
            np.save(self.upright, pixels)
            self.lying.symlink_to(self.upright)
            return
        exif = Image.Exif()
        exif[0x0112] = 6
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ImageFile, "MAXBLOCK", 1 << 27)  # which noise needs
            Image.fromarray(pixels).save(self.upright, **options)
            Image.fromarray(pixels).save(self.lying, exif=exif, **options)

    def of(self, stage: str) -> Path:
        return self.lying if stage == "read" else self.upright


@pytest.fixture(scope="module", params=FORMATS)
def photos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Photos:
    return Photos(tmp_path_factory.mktemp("photos"), request.param)


def started(photos: Photos, folder: Path, stage: str, dither: str, full: str = "") -> "subprocess.Popen[str]":
    (folder / "tmp").mkdir(parents=True)
    command = [sys.executable, "-c", TELLS, full, "quantize", photos.of(stage), folder / f"out.{photos.result}"]
    command += ["-k", "64", "--memory", "500MB", "--dither", dither]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    pipe = subprocess.PIPE
    return subprocess.Popen(list(map(str, command)), stdout=pipe, stderr=pipe, text=True, env=environment)


def wait_for(process: "subprocess.Popen[str]", stage: str, share: float) -> None:
    """Wait until so much of a stage is done; of those that have no shares for a part of the time that they take."""
    assert process.stdout is not None
    for line in process.stdout:
        name, done = line.split()
        if name == stage and (stage in ("cluster", "read") or float(done) >= share):
            time.sleep(share * {"cluster": 0.3, "read": 1}.get(stage, 0))
            return
    raise AssertionError(f"{stage} was not told")


def check_nothing_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["tmp"]
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
@pytest.mark.parametrize(("stage", "dither"), STAGES)
def test_nothing_is_left(photos: Photos, tmp_path: Path, stage: str, dither: str, sent: signal.Signals) -> None:
    moments = random.Random(f"{photos.upright.suffix} {stage} {sent} {dither}")
    for number in range(N_MOMENTS):
        folder = tmp_path / str(number)
        process = started(photos, folder, stage, dither)
        wait_for(process, stage, 0.9 * moments.random())
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (130, -signal.SIGKILL), errors
        assert sent == signal.SIGKILL or errors == "gpuquant: interrupted\n"
        check_nothing_is_left(folder)


def takes_a_file(photos: Photos, stage: str, dither: str) -> str | None:
    """The task that writes into a temporary file in a stage, or after it, before the result is written."""
    if stage == "read" and not photos.of(stage).is_symlink():
        return "turning the photo upright"
    return "dithering" if (stage, dither) == ("map", "floyd-steinberg") else None


@pytest.mark.parametrize(("stage", "dither"), STAGES)
def test_a_full_disk(photos: Photos, tmp_path: Path, stage: str, dither: str) -> None:
    moments = random.Random(f"{photos.upright.suffix} {stage} {dither}")
    assert started(photos, tmp_path / "room", stage, dither).communicate()[1] == ""  # loops are on the disk by then
    for number in range(N_MOMENTS):
        folder = tmp_path / str(number)
        moment = 0.0 if photos.of(stage).is_symlink() else 0.9 * moments.random()  # which are read in no time
        process = started(photos, folder, stage, dither, f"{stage} {moment}")
        _, errors = process.communicate()
        assert process.returncode == 1, errors
        said = f"{folder}/out.{photos.result} cannot be written: File too large"
        if task := takes_a_file(photos, stage, dither):
            file = rf"{task} takes a temporary file of [0-9.]+ MB in {folder}: File too large"
            said = rf"{file}; make room there, write to another disk, or allow more memory \(--memory\)"
        assert re.fullmatch(f"gpuquant: {said}\n", errors), errors
        check_nothing_is_left(folder)

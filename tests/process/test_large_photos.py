"""Large photos as a process: interrupts, kills and full disks at random moments of each stage leave nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOLD = """
import os, sys
from gpuquant.cli import stages
from gpuquant.cli.app import program
stages.Stages.__call__ = lambda self, stage, share=0.0: os.write(1, f"{stage} {share}\\n".encode()) and None
program()
"""
N_MOMENTS = 5


@pytest.fixture(scope="module", params=["jpg", "npy"])
def photo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 60 megapixels and many colors."""
    random_state = np.random.default_rng(0)
    tile = random_state.integers(-2, 3, (1000, 1000, 3)).cumsum(axis=0).cumsum(axis=1)
    pixels = np.tile((tile // 64 % 256).astype(np.uint8), (10, 6, 1))
    path: Path = tmp_path_factory.mktemp("photos") / f"photo.{request.param}"
    if request.param == "npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path, quality=95)
    return path


def started(photo: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    (out.parent / "tmp").mkdir()
    command = [sys.executable, "-c", TOLD, "quantize", str(photo), str(out), "-k", "64", "--memory", "300MB", *options]
    environment = {**os.environ, "TMPDIR": str(out.parent / "tmp")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(process: "subprocess.Popen[str]", stage: str, share: float) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        name, done = line.split()
        if name == stage and (stage == "cluster" or float(done) >= share):
            time.sleep(share * 0.3 if stage == "cluster" else 0)
            return
    raise AssertionError(f"{stage} was not told")


def check_nothing_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["tmp"]
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("dither", ["none", "floyd-steinberg"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
@pytest.mark.parametrize("stage", ["count", "cluster", "map"])
def test_nothing_is_left(photo: Path, tmp_path: Path, stage: str, sent: signal.Signals, dither: str) -> None:
    moments = random.Random(f"{photo.suffix} {stage} {sent} {dither}")
    for number in range(N_MOMENTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = started(photo, folder / "out.png", "--dither", dither)
        wait_for(process, stage, 0.9 * moments.random())
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (130, -signal.SIGKILL), errors
        assert sent == signal.SIGKILL or errors == "gpuquant: interrupted\n"
        check_nothing_is_left(folder)


@pytest.mark.slow
@pytest.mark.parametrize("dither", ["none", "floyd-steinberg"])
def test_a_full_disk(photo: Path, tmp_path: Path, dither: str) -> None:
    """A limit of the system on the size of a file stands in for a full disk."""
    limit = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)); "
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nfrom gpuquant.cli.app import main; main()"
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-c", limit, "quantize", photo, tmp_path / "out.png", "-k", "64", "--memory", "300MB"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(
        [*map(str, command), "--dither", dither], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    check_nothing_is_left(tmp_path)

"""Quantizers outside of Python give pictures of the right size in at most K colors, and are timed by their own work."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Pixels

from gpuquant.bench import measuring, programs
from gpuquant.bench.measuring import measure, measure_apart, missing, stored
from gpuquant.bench.peers import Quantizer
from gpuquant.bench.programs import ffmpeg, gdal, pngquant, run_program
from gpuquant.bench.quantized import Quantized

EVERY = {"pngquant-cli": pngquant, "imageio-ffmpeg": ffmpeg, "rasterio": gdal}
SLEEPING = "import time; time.sleep({})"


def skip_without(package: str) -> None:
    if problem := missing(package):
        pytest.skip(problem)


@pytest.fixture(params=EVERY)
def peer(request: pytest.FixtureRequest) -> Quantizer:
    skip_without(request.param)
    return Quantizer(request.param, request.param, EVERY[request.param])


@pytest.mark.parametrize("n_colors", [2, 5, 256])
def test_a_picture_of_the_right_size_in_so_many_colors(peer: Quantizer, china: Pixels, n_colors: int) -> None:
    photo = china[:101, :77]
    result = peer.run(photo, n_colors)
    assert result.labels.shape == (101, 77)
    assert len(np.unique(result.labels)) <= n_colors
    written = result.palette[result.labels]
    apart = np.square(written.astype(int) - photo).sum(axis=2)
    assert apart.mean() < np.square(photo - photo.mean(axis=(0, 1))).sum(axis=2).mean()  # better than one color
    found = measure(peer, photo, n_colors, rounds=2, most_seconds=60)
    assert found.mse == pytest.approx(apart.mean())
    assert found.n_colors <= n_colors
    assert found.version == (result.version or version(peer.package))


def test_channels_are_not_mixed_up(peer: Quantizer) -> None:
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 255, 128, 0
    result = peer.run(photo, 2)
    assert np.abs(result.palette[result.labels].astype(int) - photo).max() <= 8  # GDAL's entries have 5 bits


@pytest.mark.parametrize(("name", "n_runs"), [("pngquant-cli", 7), ("imageio-ffmpeg", 2)])
def test_what_is_around_is_subtracted(name: str, n_runs: int, china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """With made up seconds for the runs: the photo's, and those of what stands around its quantizing."""
    skip_without(name)
    real: Callable[..., tuple[float, float | None]] = run_program
    for_photo, around = [(5.0, 70.0), (9.0, 70.0), (4.0, 70.0)], [(3.0, 60.0), (1.0, 60.0), (8.0, 60.0)]
    told = [*for_photo, *around, (1.0, 10.0)] if name == "pngquant-cli" else [(1.0, 10.0), (3.0, 70.0)]
    left = list(told)

    def run(command: list[object]) -> tuple[float, float | None]:
        real(command)
        return left.pop(0)

    monkeypatch.setattr(programs, "run_program", run)
    result = EVERY[name](china[:40, :40], 8)
    assert (result.seconds, result.peak_megabytes, len(told), left) == (2.0, 60.0, n_runs, [])


def test_a_measurement_has_the_seconds_and_the_memory_of_the_program(china: Pixels) -> None:
    def run(photo: Pixels, n_colors: int) -> Quantized:
        return Quantized(photo[:1, 0], np.zeros(photo.shape[:2], int), seconds=9.0, peak_megabytes=4.5, version="7")

    found = measure(Quantizer("program", "numpy", run), china, 2, rounds=2, most_seconds=60)
    assert (found.seconds, found.peak_megabytes, found.version) == ((9.0, 9.0), 4.5, "7")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's peak memory counter")
def test_seconds_and_memory_of_a_program() -> None:
    held = "x = b'1' * 150_000_000; " + SLEEPING.format(0.3)
    seconds, peak = run_program([sys.executable, "-c", held])
    assert seconds > 0.3
    assert peak is not None
    assert 150 < peak < 250


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="exit code 3: no luck"):
        run_program([sys.executable, "-c", "import sys; sys.stderr.write('no luck'); sys.exit(3)"])


def write_and_sleep(photo: Pixels, n_colors: int) -> Quantized:
    told = os.environ["TOLD"]
    run_program(
        [sys.executable, "-c", f"import os; open({told!r}, 'w').write(str(os.getpid())); {SLEEPING.format(60)}"]
    )
    raise AssertionError


class Impatient:
    """The end of a pipe on which nothing has come by the time that a program has begun, however slow the machine."""

    def __init__(self, told: Path) -> None:
        self.told = told

    def poll(self, _: float) -> bool:
        end = time.monotonic() + 120
        while not (self.told.exists() and self.told.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        return False

    def close(self) -> None:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="process groups, and /proc")
def test_a_program_ends_with_the_process_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "process"
    monkeypatch.setenv("TOLD", str(told))
    spawn = multiprocessing.get_context("spawn")
    context = SimpleNamespace(Process=spawn.Process, Pipe=lambda duplex: (Impatient(told), spawn.Pipe(duplex)[1]))
    monkeypatch.setattr(measuring, "multiprocessing", SimpleNamespace(get_context=lambda _: context))
    with stored(np.zeros((4, 4, 3), np.uint8)) as file:
        found = measure_apart(Quantizer("sleep", "numpy", write_and_sleep), file, 2, rounds=1, most_seconds=1, limit=8)
    assert found.problem == "stopped after 8 s"
    command = Path(f"/proc/{told.read_text()}/cmdline")
    end = time.monotonic() + 20
    while command.exists() and command.read_bytes() and time.monotonic() < end:
        time.sleep(0.05)
    assert not command.exists() or not command.read_bytes()  # which one that has ended, and is not yet taken, has not

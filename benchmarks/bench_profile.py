"""The parts of the time of a call: its stages beside a floor, and the first call of a new process.

The floor reads the pixels twice, each time with one access to a place of a table that the color chooses: counting and
looking up need that much. Run: pytest benchmarks/bench_profile.py
"""

import hashlib
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import InTurn, Pixels, Tell, check_quantized, named_photo

import gpuquant
from gpuquant.ops.compiled import compiled, has_numba
from gpuquant.threads import n_cores

ROUNDS, FIRST_ROUNDS = 5, 3
N_CODES = 1 << 24
STAGES = ("read", "count", "cluster", "map")


def _count(pixels: Pixels, table: npt.NDArray[np.int32]) -> None:  # [N, 3], [2^24]
    for pixel in range(len(pixels)):
        code = (np.int64(pixels[pixel, 0]) << 16) | (np.int64(pixels[pixel, 1]) << 8) | np.int64(pixels[pixel, 2])
        table[code] += 1


def _look_up(pixels: Pixels, table: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> None:
    for pixel in range(len(pixels)):
        code = (np.int64(pixels[pixel, 0]) << 16) | (np.int64(pixels[pixel, 1]) << 8) | np.int64(pixels[pixel, 2])
        labels[pixel] = table[code]


class Floor:
    """Both passes over pixels, in as many threads as there are cores, with tables that are there already."""

    def __init__(self, pixels: Pixels) -> None:
        self.n_calls = 0
        self.pixels = pixels.reshape(-1, 3)
        self.labels = np.zeros(len(self.pixels), np.uint8)
        self.entries = np.random.RandomState(0).randint(0, 256, N_CODES, np.uint8)
        self._parts = np.array_split(self.pixels, n_cores())
        self._labels = np.array_split(self.labels, n_cores())
        self.tables = [np.zeros(N_CODES, np.int32) for _ in self._parts]
        self._count, self._look_up = compiled(_count), compiled(_look_up)

    def __call__(self) -> None:
        self.n_calls += 1
        with ThreadPoolExecutor(n_cores()) as pool:
            list(pool.map(self._count, self._parts, self.tables))
            list(pool.map(self._look_up, self._parts, [self.entries] * len(self._parts), self._labels))

    def check(self) -> None:
        codes = self.pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        np.testing.assert_array_equal(sum(self.tables), self.n_calls * np.bincount(codes, minlength=N_CODES))
        np.testing.assert_array_equal(self.labels, self.entries[codes])


@pytest.mark.parametrize("n_colors", [8, 256])
@pytest.mark.parametrize("name", ["bryggen_17mp", "china_13mp", "kodim05"])
def test_stages(tell: Tell, in_turn: InTurn, name: str, n_colors: int) -> None:
    pixels = named_photo(name)
    stages: list[dict[str, float]] = []

    def ours() -> gpuquant.QuantizedImage:
        result = gpuquant.quantize(pixels, n_colors, device="cpu")
        stages.append(result.seconds)
        return result

    functions: dict[str, Any] = {"ours": ours}
    floor = Floor(pixels) if has_numba() else None
    if floor:
        functions["floor"] = floor
    seconds, results = in_turn(functions, ROUNDS)
    check_quantized(pixels, results["ours"], n_colors)
    what = f"{name}, K = {n_colors}"
    for stage in STAGES:
        of_stage = statistics.median(one[stage] for one in stages[1:])
        tell(f"{what}: {stage}, ms", 1000 * of_stage, f"{of_stage / seconds['ours']:.0%} of the call")
    beside = f"{results['ours'].n_iter} iterations on all colors"
    if floor:
        floor.check()
        beside += f"; {seconds['ours'] / seconds['floor']:.1f} times the floor"
    tell(f"{what}: the call, ms", 1000 * seconds["ours"], beside)
    if floor:
        beside = f"{pixels.size // 3 / 1e6:.1f} million pixels read twice, with a random access each"
        tell(f"{what}: the floor, ms", 1000 * seconds["floor"], beside)


FIRST = """
import hashlib, sys, time
import numpy as np

pixels = np.load(sys.argv[1])
times = [time.perf_counter()]
import gpuquant
quantize = gpuquant.quantize  # imports torch and the rest
times.append(time.perf_counter())
for _ in range(2):
    result = quantize(pixels, int(sys.argv[2]), device="cpu")
    times.append(time.perf_counter())
print(hashlib.sha256(result.palette.rows.tobytes() + result.labels.tobytes()).hexdigest(), *np.diff(times))
"""


@pytest.mark.parametrize("n_colors", [8, 256])
@pytest.mark.parametrize("name", ["bryggen_17mp", "kodim05"])
def test_first_call(
    tell: Tell, in_turn: InTurn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, n_colors: int
) -> None:
    """In new processes: with no compiled loops on disk, and with those that the last one left there."""
    pixels = named_photo(name)
    np.save(tmp_path / "pixels.npy", pixels)
    folders = (tmp_path / f"cache-{number}" for number in count())
    expected = gpuquant.quantize(pixels, n_colors, device="cpu")
    digest = hashlib.sha256(expected.palette.rows.tobytes() + np.asarray(expected.labels).tobytes()).hexdigest()
    parts: dict[str, list[list[float]]] = {"cold": [], "warm": []}

    def run(kind: str) -> None:
        if kind == "cold":
            monkeypatch.setenv("NUMBA_CACHE_DIR", str(next(folders)))
        command = [sys.executable, "-c", FIRST, str(tmp_path / "pixels.npy"), str(n_colors)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert told[0] == digest
        parts[kind].append([float(one) for one in told[1:]])

    seconds, _ = in_turn({"cold": lambda: run("cold"), "warm": lambda: run("warm")}, FIRST_ROUNDS, warm_up=False)
    for kind, words in (("cold", "no compiled loops on disk"), ("warm", "compiled loops on disk")):
        imports, first, second = (statistics.median(column) for column in zip(*parts[kind], strict=True))
        beside = f"imports {imports:.2f} s, second call {second:.2f} s, the whole process {seconds[kind]:.2f} s"
        tell(f"{name}, K = {n_colors}: first call, {words}, s", first, beside)

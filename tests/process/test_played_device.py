"""gpuquant on a played CUDA device: the CPU's results, and limits on what it asks of the device."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from played import costs

pytest.importorskip("triton", reason="Triton is made for Linux")
ROOT = Path(__file__).parents[2]
PLAY, ESTIMATE = ROOT / "tests" / "play.py", ROOT / "scripts" / "estimate_gpu.py"
LIMITS = {  # operations, views, launches and waits
    "quantize, K = 8": (46, 21, 28, 11),
    "quantize, K = 256": (49, 23, 25, 11),
    "quantize, K = 300": (46, 39, 25, 12),
    "KMeans on levels": (113, 38, 113, 25),
    "KMeans on points": (118, 41, 16, 22),
    "batch": (1116, 592, 326, 179),
    "blue noise": (65, 28, 45, 20),
    "Floyd-Steinberg": (61, 23, 25, 19),
}
WHOLE_PHOTO = {8: (43, 19, 27, 10), 256: (47, 21, 40, 11)}  # of 13.7 megapixels and 1.5 million colors


def run(script: Path, *options: str) -> str:
    """What a script prints where Triton compiles."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, str(script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def played() -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in run(PLAY, "--only-bind").splitlines()]  # others compile every kernel
    return {row["case"]: row for row in rows}


def test_results_are_those_of_the_cpu(played: dict[str, dict[str, Any]]) -> None:
    assert set(played) == {*LIMITS, "others"}
    assert {case: row["same"] for case, row in played.items()} == dict.fromkeys(played, True)


@pytest.mark.parametrize("case", LIMITS)
def test_no_more_is_asked_of_the_device(case: str, played: dict[str, dict[str, Any]]) -> None:
    row = played[case]
    counts = tuple(row[kind] for kind in ("operations", "views", "launches", "waits"))
    assert all(count <= limit for count, limit in zip(counts, LIMITS[case], strict=True)), (counts, row["named"])


@pytest.mark.parametrize("case", ["quantize, K = 8", "quantize, K = 256"])
def test_breathing_is_done_on_the_device(case: str, played: dict[str, dict[str, Any]]) -> None:
    assert played[case]["named"]["launch"]["breathe_kernel"] == 1
    assert played[case]["host_ms"] == 0


def test_more_clusters_breathe_on_the_cpu(played: dict[str, dict[str, Any]]) -> None:
    assert "breathe_kernel" not in played["quantize, K = 300"]["named"]["launch"]
    assert played["quantize, K = 300"]["host_ms"] > 0


def test_nothing_is_compiled_for_other_sizes(played: dict[str, dict[str, Any]]) -> None:
    """For photos of other sizes, numbers of colors up to the same power of two, and views at odd addresses."""
    assert played["others"]["launches"] > 50
    assert {case: row["compiled"] for case, row in played.items()} == dict.fromkeys(played, 0)


def test_every_kernel_has_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from gpu.kernels import SHOWN_IN

    assert set(costs.WORK) == set(SHOWN_IN)


@pytest.mark.slow
@pytest.mark.parametrize("chip", [75, 80, 120])
def test_kernels_are_compiled_for_other_chips_on_the_way(chip: int) -> None:
    rows = [json.loads(line) for line in run(PLAY, "--chip", str(chip), "quantize, K = 256", "blue noise").splitlines()]
    assert [row["same"] for row in rows] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("n_colors", WHOLE_PHOTO)
def test_the_estimate_counts_what_a_whole_photo_asks_for(n_colors: int) -> None:
    said = run(ESTIMATE, "--colors", str(n_colors))
    (found,) = re.findall(r"^\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| [\d.]+, 40 % more or less \|$", said, re.M)
    assert all(int(count) <= limit for count, limit in zip(found, WHOLE_PHOTO[n_colors], strict=True)), said
    assert "the results are as the CPU's" in said

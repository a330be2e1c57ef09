"""The report on a CUDA device, rehearsed on the CPU."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_report.py"
RESULTS = SCRIPT.parents[1] / "benchmarks" / "results"


def run(*options: str) -> str:
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_and_writes_nothing() -> None:
    before = sorted(RESULTS.glob("*"))
    assert run() == "No CUDA device: nothing was measured, nothing was written.\n"
    assert sorted(RESULTS.glob("*")) == before


def test_a_rehearsal_checks_and_times_everything() -> None:
    before = sorted(RESULTS.glob("*"))
    lines = run("--rehearse").splitlines()
    assert re.fullmatch(r"([1-9]\d{2,}) of \1 results are those of the CPU\.", lines[0])
    assert len(lines) == 3 + 2 * 4 + 2 + 3 + 3 + 2
    assert sum("torch " in line for line in lines) == 3
    assert sum("scikit-learn" in line for line in lines) == 2
    assert sorted(RESULTS.glob("*")) == before

"""The suite under benchmarks/: what it measures is kept, and it goes on where it was stopped."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_the_suite_keeps_what_it_measures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks/bench_kmeans.py"]
    command += ["--sizes", "0.02MP", "--save", str(tmp_path), "-k", "same_start and cpu-8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "kmeans-cpu.json").read_text())
    assert found["machine"]["numpy"] == np.__version__
    (table_of_one,) = found["tables"]
    assert (table_of_one["kind"], table_of_one["photo"], table_of_one["n_colors"]) == ("same start", "0.02MP", 8)
    theirs, ours = table_of_one["measurements"][:2]
    assert (theirs["agreement"], ours["agreement"]) == (1, 1)
    assert ours["mse"] == theirs["mse"]
    assert ours["n_iter"] == theirs["n_iter"]
    assert "gpuquant.KMeans" in done.stdout
    assert list(found["took"]) == ["test_from_the_same_start[0.02MP-cpu-8]"]

    again = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout
    assert " passed" not in again.stdout
    assert json.loads((tmp_path / "kmeans-cpu.json").read_text()) == found
    command[-1] = "same_start and cpu"
    planned = subprocess.run([*command, "--resume", "--plan"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stdout
    assert "   done  kmeans: test_from_the_same_start[0.02MP-cpu-8]\n" in planned.stdout
    assert "    new  kmeans: test_from_the_same_start[0.02MP-cpu-64]\n" in planned.stdout
    assert " passed" not in planned.stdout


def test_going_on_needs_a_folder() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "benchmarks/bench_kmeans.py", "--resume"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--resume: goes on with what a folder has, so it needs --save FOLDER" in done.stderr


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        ("{", "does not hold results"),
        ('{"machine": {}}', "does not hold results"),
        ('{"machine": {}, "tables": [], "ratios": []}', "another machine's"),
    ],
)
def test_the_suite_keeps_what_it_cannot_add_to(held: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "kmeans-cpu.json").write_text(held)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "benchmarks/bench_kmeans.py"]
    done = subprocess.run([*command, "--save", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert problem in done.stderr
    assert (tmp_path / "kmeans-cpu.json").read_text() == held

"""A batch on a Ray cluster of this machine, with two workers, beside the same batch in threads of one process.

Timed is from the first result to the last: starting Ray, and importing in its workers, stand beside it. Files that are
not those of the local batch, byte for byte, fail.

Run: pytest benchmarks/bench_cluster.py [--full]     (--full: 203 photos in place of 58)
"""

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from bench_batch import folder_of
from conftest import Report, Tell

from gpuquant.bench.measuring import missing
from gpuquant.threads import n_cores

N_COLORS, ROUNDS = 16, 3
N_WORKERS = 2
JOB = """
import sys, time, gpuquant
photos, out, n_colors, cluster, jobs, shared = sys.argv[1:]
start, times = time.perf_counter(), []
given = {"device": "cpu", "cluster": cluster or None, "jobs": int(jobs), "shared_palette": shared == "shared"}
for outcome in gpuquant.quantize_files(photos, out, int(n_colors), recursive=True, existing="overwrite", **given):
    assert outcome.error is None, outcome
    times.append(time.perf_counter())
print(times[0] - start, times[-1] - times[0])
"""


def run(photos: Path, out: Path, cluster: str, jobs: int, kind: str) -> tuple[float, float]:
    """Seconds to the first result, and from there to the last."""
    command = [sys.executable, "-c", JOB, str(photos), str(out), str(N_COLORS), cluster, str(jobs), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    begun, rest = map(float, done.stdout.split())
    return begun, rest


def test_time_of_a_batch_on_a_cluster(report: Report, tell: Tell, tmp_path: Path, full: bool) -> None:
    """In turn: threads, and a worker for each half of the cores."""
    if missing("ray"):
        pytest.skip("Ray is not installed; scripts/setup.sh ray does it")
    photos = folder_of(tmp_path, 7 if full else 2, "[kl][oa]*/*")  # of the Kodak photographs and the large ones
    n_photos = len(list(photos.iterdir()))
    ways = {"": n_cores(), "local": max(1, n_cores() // N_WORKERS)}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(1 if full else ROUNDS):
        for way, jobs in ways.items():
            found[way].append(run(photos, tmp_path / f"out-{way}", way, jobs, "alone"))
    check_same_files(tmp_path)
    (here, local), (there, cluster) = (map(median, zip(*found[way], strict=True)) for way in ways)
    what = f"{n_photos} photos, --cluster local with two workers"
    beside = f"{cluster:.1f} s, and {there:.1f} s to the first result; local {local:.1f} s, and {here:.1f} s"
    report(f"{what}: time / that of the local batch", cluster / local, 1.2, 1.05, beside)
    for way, jobs in ways.items():
        found[way] = [run(photos, tmp_path / f"out-{way}", way, jobs, "shared")]
    check_same_files(tmp_path)
    (counted, rest), (there, cluster) = (found[way][0] for way in ways)
    beside = f"{cluster:.1f} s, and {there:.1f} s to the first result; local {rest:.1f} s, and {counted:.1f} s"
    tell(f"{what}, one palette for all: time after it is found / that of the local batch", cluster / rest, beside)


def check_same_files(folder: Path) -> None:
    one, other = ({path.name: path.read_bytes() for path in (folder / f"out-{way}").iterdir()} for way in ("", "local"))
    assert one == other

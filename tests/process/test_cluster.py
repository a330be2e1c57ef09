"""Batches on Ray, as processes: results are those of this machine alone, whoever is killed, and nothing is left."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

import gpuquant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed; scripts/setup.sh ray does it"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc"),
]

N_PHOTOS = 24
REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "photos"  # beside the checkout, if they are there
COMMAND = [sys.executable, "-m", "gpuquant", "batch"]
JOB = """
import sys, gpuquant
photos, out, cluster, shared = sys.argv[1:]
def tell(word):
    return lambda what: print(word, what, flush=True)
given = {"shared_palette": shared == "shared", "counted": tell("counted"), "progress": tell("stage"), "jobs": 1}
for outcome in gpuquant.quantize_files(photos, out, 6, cluster=cluster, **given):
    print(outcome.status, outcome.source, outcome.error, flush=True)
"""
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster()
head = cluster.add_node(num_cpus=1, include_dashboard=False, ray_client_server_port=int(sys.argv[1]))
second = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
"""
STEPS = """
import time
from pathlib import Path
class Slow:
    def __init__(self, seat, folder):
        self.folder = Path(folder)
    def __call__(self, item, is_again, is_stopped):
        (self.folder / str(item)).touch()
        for _ in range(1200):
            if is_stopped():
                return "stopped"
            time.sleep(0.05)
        return "slept"
"""
STOPPED = """
import sys, threading, time
from pathlib import Path
from gpuquant.cluster.pool import Pool
from gpuquant.cluster.ray_cluster import connected
from gpuquant.cluster.worker import Step
from gpuquant.threads import n_cores
folder, jobs, stopped = sys.argv[1], int(sys.argv[2]) or None, threading.Event()
def watch():
    while len(list(Path(folder).iterdir())) < n_cores():
        time.sleep(0.05)
    stopped.set()
threading.Thread(target=watch, daemon=True).start()
with connected("local") as cluster:
    pool = Pool(cluster, {}, jobs=jobs, device="cpu")
    print(n_cores(), *(word for _, word in pool.work(Step("steps:Slow", (folder,)), range(99), stopped)))
    pool.close()
"""
OF_THIS_PROCESS = """
import fcntl, os, sys
folder = fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 700)  # no other process has this number
sys.argv[1] = f"/proc/self/fd/{folder}"
"""


@pytest.fixture(scope="module")
def photos(china: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    large = np.tile(china, (9, 9, 1))
    for number in range(N_PHOTOS):
        Image.fromarray(large[3 * number :, number:]).save(folder / f"p{number:02}.jpg")
    return folder


@pytest.fixture(scope="module", params=["alone", "shared"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def results(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Those of the local batch, by kind."""
    found = {}
    for kind in ("alone", "shared"):
        out = tmp_path_factory.mktemp(kind)
        for outcome in gpuquant.quantize_files(photos, out, 6, shared_palette=kind == "shared"):
            assert outcome.status == "written"
        found[kind] = files_in(out)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process of Ray's, and no folder of ours: that is named in the commands of all of them."""
    place = tempfile.mkdtemp(prefix="", dir="/tmp")  # short, for names of sockets; others have batches elsewhere
    monkeypatch.setenv("TMPDIR", place)
    yield
    assert list(Path(place).glob("gpuquant-ray-*")) == []
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    assert [pid for pid in pids if f"{place}/gpuquant-ray-" in command_of(pid)] == []
    shutil.rmtree(place, ignore_errors=True)


def below(pid: int, words: str) -> list[int]:
    """The processes that a process started, and those that they did, whose command has these words."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
            parents.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        waiting += children
        found += [child for child in children if words in command_of(child)]
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def kill_a_worker(pid: int) -> int:
    """Kill one that works on an item; its number."""
    for _ in range(1000):
        if found := below(pid, "ray::Worker.work"):
            os.kill(found[0], signal.SIGKILL)
            return found[0]
        time.sleep(0.01)
    return pytest.fail("no worker was found")


@contextmanager
def started(*given: object, code: str = JOB) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", code, *map(str, given)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def lines_of(process: "subprocess.Popen[str]") -> Iterator[list[str]]:
    assert process.stdout
    for line in process.stdout:
        yield line.split(maxsplit=2)


def run(*given: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | variables)


@contextmanager
def two_nodes(client_port: int = 10_001) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Two nodes of one CPU each on this machine, and the address of the first; the second one goes at a line."""
    with started(client_port, code=CLUSTER) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield process, address
        process.communicate("\n\n")


def test_a_local_cluster(kind: str, photos: Path, tmp_path: Path, results: dict[str, dict[str, bytes]]) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    (photos / "notes.txt").touch()
    given = [photos, photos / "missing.jpg", "-o", out, "-k", 6, "--cluster", "local", "--log", log]
    done = run(*given, *["--shared-palette"] * (kind == "shared"))
    assert done.returncode == 1
    assert done.stderr == f"gpuquant: {photos / 'missing.jpg'}: no such file\n"
    assert files_in(out) == results[kind]
    assert len(done.stdout.splitlines()) == N_PHOTOS + 1
    assert done.stdout.splitlines()[-1].startswith(f"{N_PHOTOS} written, 1 failed; 1 passed over: 1 .txt; ")
    statuses = [json.loads(line)["status"] for line in log.read_text().splitlines()]
    assert sorted(statuses) == ["failed", "passed over", *["written"] * N_PHOTOS]


def test_workers_that_are_killed_change_nothing(
    kind: str, photos: Path, tmp_path: Path, results: dict[str, dict[str, bytes]]
) -> None:
    """One while it counts, and another while it writes."""
    run_with_two_killed(photos, tmp_path / "out", kind, n_counted=7, n_written=5)
    assert files_in(tmp_path / "out") == results[kind]


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason="there are no photos beside the checkout, in shared/photos")
def test_two_hundred_real_photos_and_workers_that_are_killed(tmp_path: Path) -> None:
    """Large ones, and the Kodak set, again and again: bytes and palette are those of the local batch."""
    photos, here, there = (tmp_path / name for name in ("photos", "here", "there"))
    photos.mkdir()
    found = sorted(REAL_PHOTOS.glob("[kl][oa]*/*"))
    for number, path in zip(range(200), cycle(found), strict=False):
        shutil.copy(path, photos / f"{number:03}-{path.name}")
    for outcome in gpuquant.quantize_files(photos, here, 6, shared_palette=True):
        assert outcome.status == "written"
    run_with_two_killed(photos, there, "shared", n_counted=100, n_written=100)
    assert len(files_in(there)) == 200 + 1
    assert files_in(there) == files_in(here)


def run_with_two_killed(photos: Path, out: Path, kind: str, *, n_counted: int, n_written: int) -> None:
    """Kill one worker when so many photos are counted, and another when so many are written; all come through."""
    counted, written, killed = list[str](), list[str](), list[int]()
    with started(photos, out, "local", kind) as process:
        for word, name, *_ in lines_of(process):
            counted += [name] * (word == "counted")
            written += [name] * (word == "written")
            assert word != "failed"
            if (word == "counted" and len(counted) == n_counted) or (word == "written" and len(written) == n_written):
                killed.append(kill_a_worker(process.pid))
        assert process.wait() == 0, process.communicate()[1]
    names = sorted(map(str, photos.glob("*.[jp][pn]g")))
    assert sorted(written) == names
    assert sorted(counted) == (names if kind == "shared" else [])
    assert len(set(killed)) == (2 if kind == "shared" else 1)


def test_a_node_that_is_lost_changes_nothing(
    kind: str, photos: Path, tmp_path: Path, results: dict[str, dict[str, bytes]]
) -> None:
    with two_nodes() as (cluster, address), started(photos, tmp_path / "out", address, kind) as process:
        assert cluster.stdin
        seen, awaited = list[str](), "counted" if kind == "shared" else "written"
        for word, *_ in lines_of(process):
            seen.append(word)
            assert word != "failed"
            if word == awaited and seen.count(word) == 5:
                cluster.stdin.write("\n")
                cluster.stdin.flush()
        assert process.wait() == 0, process.communicate()[1]
    assert seen.count("written") == N_PHOTOS
    assert files_in(tmp_path / "out") == results[kind]


def test_interrupted_and_taken_up(photos: Path, tmp_path: Path, results: dict[str, dict[str, bytes]]) -> None:
    """By Ctrl-C, which goes to all processes of the terminal."""
    out = tmp_path / "out"
    given = [str(photos), "-o", str(out), "-k", "6", "--cluster", "local", "--jobs", "1", "--skip-existing"]
    process = subprocess.Popen(
        [*COMMAND, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(out.glob("*.png")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines() == [
        "gpuquant: finishing what is in flight; interrupt again to stop at once",
        "gpuquant: interrupted",
    ]
    n_written = len(list(out.iterdir()))
    assert 1 <= n_written < N_PHOTOS
    assert printed.splitlines()[-1].startswith(f"{n_written} written; ")
    done = run(*given)
    assert done.returncode == 0, done.stderr
    assert f"{N_PHOTOS - n_written} written, {n_written} skipped; " in done.stdout
    assert files_in(out) == results["alone"]


@pytest.mark.parametrize("jobs", [0, 1])  # 0: as many as there are cores, in one worker
def test_items_that_are_not_begun_are_left_when_the_work_is_stopped(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "steps.py").write_text(STEPS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])))
    with started(tmp_path / "begun", jobs, code=STOPPED) as process:
        printed, errors = process.communicate()
    n_begun, *words = printed.split() or pytest.fail(errors)
    assert words == ["stopped"] * int(n_begun)
    assert len(list((tmp_path / "begun").iterdir())) == int(n_begun)


def test_a_running_cluster(photos: Path, tmp_path: Path, results: dict[str, dict[str, bytes]]) -> None:
    """By RAY_ADDRESS, and through the port for clients."""
    with two_nodes() as (_, address):
        done = run(photos, "-o", tmp_path / "auto", "-k", 6, "--cluster", "auto", RAY_ADDRESS=address)
        assert done.returncode == 0, done.stderr
        assert files_in(tmp_path / "auto") == results["alone"]
        given = ["-k", 6, "--shared-palette", "--cluster", "ray://127.0.0.1:10001"]
        done = run(photos, "-o", tmp_path / "client", *given)
        assert done.returncode == 0, done.stderr
        assert files_in(tmp_path / "client") == results["shared"]


def test_nodes_of_another_version_or_without_the_files(photos: Path, tmp_path: Path) -> None:
    job = f"import gpuquant; gpuquant.__version__ = '9.9'; {JOB}"
    with started(photos, tmp_path / "out", "local", "alone", code=job) as process:
        _, errors = process.communicate()
    here = f"gpuquant {gpuquant.__version__} and Python 3.{sys.version_info.minor}"
    assert f"has {here}, and this machine gpuquant 9.9 and Python 3.{sys.version_info.minor}; install" in errors
    job = f"{OF_THIS_PROCESS}\n{JOB}"
    with started(photos, tmp_path / "out", "local", "alone", code=job) as process:
        _, errors = process.communicate()
    assert "does not see /proc/self/fd/" in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_no_running_cluster_is_one_line(photos: Path, tmp_path: Path) -> None:
    done = run(photos, "-o", tmp_path / "out", "--cluster", "auto", RAY_ADDRESS="")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "gpuquant: --cluster 'auto' finds no running cluster; start one with `ray start --head`"
    )
    assert len(done.stderr.splitlines()) == 1

"""The report on a CUDA device, rehearsed on the CPU: whole at its end, and whole whenever it is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import HANGING

pytest.importorskip("triton", reason="Triton is made for Linux")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_report.py"
RESULTS = ROOT / "benchmarks" / "results"
COMMAND = [sys.executable, str(SCRIPT)]
N_ROWS = {  # of a rehearsed step, the last of which counts the kernels that it compiled
    "first": 7, "cache": 5, "tests": 2, "profile": 4, "times": 25, "sanitizer": 3, "repeats": 5, "comparisons": 25,
    "features": 10, "peers": 9, "scikit-learn": 4,
}  # fmt: skip
SHORT_STEPS = ("times", "sanitizer", "comparisons")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setenv("GPUQUANT_REHEARSAL", "1")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def steps() -> dict[str, Any]:
    from gpu.steps import STEPS

    found: dict[str, Any] = STEPS
    return found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_and_writes_nothing() -> None:
    before = sorted(RESULTS.glob("*"))
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No CUDA device: nothing was measured, nothing was written.\n")
    assert sorted(RESULTS.glob("*")) == before


@pytest.mark.parametrize(
    "names", [SHORT_STEPS, pytest.param(tuple(N_ROWS), marks=pytest.mark.slow)], ids=["short", "all"]
)
def test_a_rehearsal_leaves_a_row_of_every_case(names: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    command = [*COMMAND, "--rehearse", "--out", str(out), "--only", ",".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * HANGING)
    assert done.returncode == 0, done.stdout[-3000:] + out.with_suffix(".log").read_text()[-3000:]
    document = json.loads(out.read_text())
    assert [(step["step"], step["outcome"]) for step in document["steps"]] == [(name, "done") for name in names]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in document["rows"]:
        assert row.pop("what")
        rows[row.pop("step")].append(row)
    assert {name: len(found) for name, found in rows.items()} == {name: N_ROWS[name] for name in names}
    assert sum(row.get("compared", 0) for row in rows["comparisons"]) > 600
    if "first" in names:
        assert [row["same_labels"] for row in rows["first"] if "same_labels" in row] == [True, True]
        assert rows["tests"][0]["passed"] > 10
        assert all("median_ms" in row and "first_ms" in row for row in rows["features"][:-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.log"]


def test_all_steps_are_rehearsed() -> None:
    assert list(N_ROWS) == list(steps())


def test_every_kernel_shows_in_a_row() -> None:
    from gpu import kernels, operations
    from gpu.clock import Floors

    assert set(kernels.every_kernel()) == set(kernels.SHOWN_IN)
    assert set(kernels.SHOWN_IN.values()) <= set(operations.cases_of(Floors()))


def test_estimates_are_within_eight_minutes() -> None:
    assert sum(step.estimate for step in steps().values()) <= 8 * 60
    assert all(step.estimate < step.limit for step in steps().values())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment_it_leaves_what_it_has(how: signal.Signals, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    process = subprocess.Popen([*COMMAND, "--rehearse", "--out", str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(2)]
    children = descendants(process.pid)
    process.send_signal(how)
    process.wait(timeout=HANGING)
    process.stdout.close()
    document = json.loads(out.read_text())
    assert document["plan"] == list(steps())
    assert document["steps"] == []
    assert len(document["rows"]) >= len(seen)
    assert [row["step"] for row in document["rows"]] == ["first"] * len(document["rows"])
    assert children
    assert wait_until(lambda: not any(is_running(child) for child in children))


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + HANGING
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def descendants(parent: int) -> list[int]:
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and parent_of(int(entry.name)) == parent
    ]
    return found + [one for child in found for one in descendants(child)]


def parent_of(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def runner_of(code: str, folder: Path) -> Path:
    """The script that runs steps, beside a step made of Python code."""
    (folder / "gpu").mkdir()
    steps = "from types import SimpleNamespace\nSTEPS = {'one': SimpleNamespace(place='own:rows')}\n"
    (folder / "gpu" / "steps.py").write_text(steps)
    (folder / "gpu" / "own.py").write_text(code)
    runner = folder / "gpu" / "run_step.py"
    runner.write_text((SCRIPT.parent / "gpu" / "run_step.py").read_text())
    return runner


def test_a_step_ends_with_whoever_started_it(tmp_path: Path) -> None:
    code = """
import subprocess, time
def rows():
    helper = subprocess.Popen(["sleep", "300"])
    yield {"helper": helper.pid}
    time.sleep(300)
"""
    command = [sys.executable, str(runner_of(code, tmp_path)), "one"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        helper = json.loads(process.stdout.readline())["helper"]
        assert is_running(helper)
        process.stdin.close()
        assert process.wait(timeout=HANGING) == -signal.SIGKILL
    assert wait_until(lambda: not is_running(helper))


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """A function that runs one step made of Python code, and gives the document."""
    import gpu_report
    from gpu.steps import Step

    def run(code: str, limit: float = 60) -> dict[str, Any]:
        runner, step = runner_of(code, tmp_path), Step("one", "own:rows", 1, 2)
        document = gpu_report.Document(tmp_path / "out.json", True, [step.name])

        class Timer(threading.Timer):
            """Its time begins with the first row, however long a slow machine takes to start a process."""

            def run(self) -> None:
                assert wait_until(lambda: document.n_rows(step) > 0 or self.finished.is_set())
                super().run()

        with pytest.MonkeyPatch.context() as patch, (tmp_path / "log").open("wb") as log:
            patch.setattr(gpu_report, "RUNNER", runner)
            patch.setattr(threading, "Timer", Timer)
            gpu_report.run(step, document, dict(os.environ), log, limit)
        found: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
        return found

    return run


@pytest.mark.parametrize(
    ("end", "outcome", "says"),
    [
        ("raise ValueError('odd')", "ended with 1", "ValueError: odd"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended with -11", "ended with -11"),
        ("import time; time.sleep(60)", "stopped after 1 s", "stopped after 1 s"),
        ('import os; os.write(3, b\'{"what": "ha\'); os._exit(1)', "ended with 1", '{"what": "ha'),
    ],
)
def test_a_step_that_fails_keeps_its_rows_and_tells_why(end: str, outcome: str, says: str, report: Any) -> None:
    limit = 1 if outcome.startswith("stopped") else 60
    document = report(f"def rows():\n    yield {{'what': 'first'}}\n    print('no row')\n    {end}\n", limit)
    assert document["rows"][0] == {"step": "one", "what": "first"}
    assert any(says in row.get("error", "") for row in document["rows"][1:])
    assert [step["outcome"] for step in document["steps"]] == [outcome]


def test_a_step_without_rows_is_an_error(report: Any) -> None:
    document = report("import os\ndef rows():\n    os._exit(0)\n    yield {}\n")
    assert document["rows"] == [{"step": "one", "what": "the step itself", "error": "it gave no row"}]


def test_a_case_that_fails_is_a_row_and_the_next_one_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpu import setting

    def fail() -> dict[str, Any]:
        raise RuntimeError("no")

    cases = {"bad": fail, "good": lambda: {"found": 1}}
    expected = [{"what": "bad", "error": "RuntimeError: no"}, {"what": "good", "found": 1}]
    assert list(setting.each_apart(cases)) == expected
    monkeypatch.setattr(setting, "wait", fail)  # as after an error of the device that stays
    last = {"what": "good", "error": "not begun: the device no longer answers"}
    assert list(setting.each_apart(cases)) == [expected[0], last]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_only_flips_that_rounding_explains_are_allowed(dtype: torch.dtype) -> None:
    from gpu.checks import wrong_labels

    random = np.random.RandomState(0)
    points = torch.from_numpy(random.normal(50, 9, (5000, 3))).to(dtype)
    centers = torch.from_numpy(random.normal(50, 9, (256, 3))).to(dtype)
    squared = (points.double()[:, None] - centers.double()).square().sum(dim=2)
    labels = squared.argmin(dim=1)
    assert wrong_labels(points, centers, labels, dtype) == 0
    second = squared.scatter(1, labels[:, None], torch.inf).min(dim=1)
    apart = second.values - squared.amin(dim=1)
    flipped = labels.clone()
    flipped[apart.argmax()] = second.indices[apart.argmax()]
    assert wrong_labels(points, centers, flipped, dtype) == 1
    # halfway between two centers either one is right
    between, pair = (centers[:1] + centers[1:2]) / 2, centers[:2]
    for label in (0, 1):
        assert wrong_labels(between, pair, torch.tensor([label]), dtype) == 0


def test_a_device_that_errs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons see a count that is off by one, and a label that is not the nearest."""
    from gpu import checks
    from gpu.setting import photo

    original = checks.ops.count_colors
    calls: list[int] = []

    def off(*given: Any, **named: Any) -> Any:
        calls.append(1)
        codes, counts = original(*given, **named)
        return codes, counts + (len(calls) > 1)

    monkeypatch.setattr(checks.ops, "count_colors", off)
    found = checks.Checks()
    found.counting("a photo", photo((24, 16)).view(-1, 3))
    assert any("counts of a photo" in one for one in found.differences)
    found = checks.Checks()
    found.nearest("labels", torch.zeros(2, 1), torch.tensor([[0.0], [5.0]]), torch.tensor([0, 1]), torch.float32)
    assert found.differences == ["labels: 1 points have a center that is not the nearest"]

"""Check and time gpuquant on a CUDA device, in about seven minutes.

Each step (scripts/gpu/steps.py) runs in a process of its own with a limit of its own, and its rows are in the JSON file
as soon as they are known: a step that fails, hangs or leaves the device unusable costs no row but its own, and neither
does the end of this process. Beside the JSON file stands a log. All kernels are built into a fresh cache, so that first
calls are what a newcomer sees. It runs from the source tree (PYTHONPATH=.); steps that would begin after the limit are
rows that say so. Where there is no CUDA device nothing is measured or written; --rehearse runs the whole order there,
small, on the CPU and in Triton's interpreter, in a minute or two.

Example: .venv/bin/python scripts/gpu_report.py --out h200.json
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from gpu.steps import STEPS, Step
from parts.arguments import Arguments

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).parent / "gpu" / "run_step.py"
LIMIT = 540  # seconds: machines with a device may be lent for ten minutes


class Document:
    """The JSON file, whole at any moment."""

    def __init__(self, path: Path, rehearsal: bool, plan: list[str]) -> None:
        self._path = path
        self._content: dict[str, Any] = {
            "rehearsal": rehearsal,
            "host": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
            "plan": plan,  # a step of it that is not among those that ended was cut off, or never begun
            "steps": [],
            "rows": [],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def add_row(self, row: dict[str, Any]) -> None:
        self._content["rows"].append(row)
        self._write()

    def add_step(self, step: Step, outcome: str, seconds: float) -> None:
        self._content["steps"].append({"step": step.name, "outcome": outcome, "seconds": round(seconds, 1)})
        self._write()

    def n_rows(self, step: Step) -> int:
        return sum(row["step"] == step.name for row in self._content["rows"])

    @property
    def has_failed(self) -> bool:
        failed = any(step["outcome"] != "done" for step in self._content["steps"])
        return failed or any("error" in row for row in self._content["rows"])

    def _write(self) -> None:
        whole = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        whole.write_text(json.dumps(self._content, indent=1) + "\n")
        whole.replace(self._path)


def run(step: Step, document: Document, environment: dict[str, str], log: IO[bytes], limit: float) -> None:
    """Run one step in a process group of its own, and keep its rows as they come."""
    start = time.monotonic()
    log.write(f"\n== {step.name}\n".encode())
    log.flush()
    stopped = threading.Event()
    with subprocess.Popen(
        [sys.executable, str(RUNNER), step.name],
        stdin=subprocess.PIPE,  # never written to: its end tells the step that this process is gone
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    ) as process:

        def stop() -> None:
            stopped.set()
            kill(process.pid)

        timer = threading.Timer(limit, stop)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                document.add_row({"step": step.name, **row_of(line)})
                print("   " + line.decode(errors="replace").strip()[:160], flush=True)
            code = process.wait()
        finally:
            timer.cancel()
            kill(process.pid)  # also what a step has started and left behind
    seconds = time.monotonic() - start
    outcome = f"stopped after {limit:.0f} s" if stopped.is_set() else "done" if code == 0 else f"ended with {code}"
    if outcome != "done":
        document.add_row({"step": step.name, "what": "the step itself", "error": f"{outcome}; the log says more"})
    elif not document.n_rows(step):
        document.add_row({"step": step.name, "what": "the step itself", "error": "it gave no row"})
    document.add_step(step, outcome, seconds)
    print(f"-- {step.name}: {outcome}, {seconds:.1f} s", flush=True)


def row_of(line: bytes) -> dict[str, Any]:
    """The row that a step printed; a step that is killed may leave a part of one."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return {"what": "a row that broke off", "error": line.decode(errors="replace").strip()[:500]}


def kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def device_name() -> str | None:
    """The name of the CUDA device, asked in another process: this one stays clear of the driver."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=90)
    except subprocess.TimeoutExpired:  # a driver that hangs: the first step will say so
        return "device"
    if done.returncode:
        told = done.stderr.strip().rpartition("\n")[2] or f"torch ended with {done.returncode}"
        sys.exit(f"gpu_report.py: {told}; scripts/setup.sh dev installs what this needs")
    return done.stdout.strip().lower().replace(" ", "-") or None


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--rehearse", action="store_true", help="small, on the CPU and in Triton's interpreter")
    parser.add_argument(
        "--out", type=Path, help="the JSON file (benchmarks/results/gpu-NAME.json; rehearsed, gpu-rehearsal.json here)"
    )
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for all steps together (%(default)s)")
    parser.add_argument("--only", help="some steps by name, separated by commas: " + ", ".join(STEPS))
    given = parser.parse_args()
    unknown = set((given.only or "").split(",")) - {"", *STEPS}
    if unknown:
        parser.error(f"--only: no step is named {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    name = None if given.rehearse else device_name()
    if not given.rehearse and not name:
        print("No CUDA device: nothing was measured, nothing was written.")
        return
    usual = Path("gpu-rehearsal.json") if given.rehearse else ROOT / "benchmarks" / "results" / f"gpu-{name}.json"
    out = (given.out or usual).absolute()
    steps = [step for step in STEPS.values() if not given.only or step.name in given.only.split(",")]
    document = Document(out, given.rehearse, [step.name for step in steps])
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, out.with_suffix(".log").open("wb") as log:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "TRITON_CACHE_DIR": str(Path(folder) / "triton"),
            "GPUQUANT_REHEARSAL": "1" if given.rehearse else "",
        }
        if given.rehearse:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        for step in steps:
            left = given.limit - (time.monotonic() - begun)
            if left < 1:
                document.add_row({"step": step.name, "what": "the step itself", "error": "no time was left for it"})
                document.add_step(step, "not begun", 0)
                continue
            run(step, document, environment, log, min(step.limit, left))
    print(f"{out}\n{out.with_suffix('.log')}")
    raise SystemExit(document.has_failed)


if __name__ == "__main__":
    main()

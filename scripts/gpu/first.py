"""The first steps: whether gpuquant runs on the device at all, its kernels' cache, and its own tests there."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
REHEARSAL = bool(os.environ.get("GPUQUANT_REHEARSAL"))
SILENT = 40  # seconds of a test after which its stack is dumped: the step has three times as long
PACKAGES = ("torch", "triton", "numpy", "scipy", "scikit-learn", "pillow", "numba", "pytest")


def first_call() -> Iterator[dict[str, object]]:
    """Go through what a newcomer meets: the import, then the first photo, whose kernels are compiled on the way."""
    yield {"what": "nvidia-smi", **_smi()}
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    yield {"what": "packages", "versions": found}
    start = time.perf_counter()
    import torch

    import gpuquant

    gpuquant.quantize  # noqa: B018 (which is imported when it is first asked for)
    row = {"gpuquant": gpuquant.__version__, "cuda": torch.version.cuda}
    yield {"what": "import gpuquant", "seconds": time.perf_counter() - start, **row}
    from gpu import setting

    if not setting.REHEARSAL:
        free, total = torch.cuda.mem_get_info()
        properties = torch.cuda.get_device_properties(0)
        chip = f"{properties.major}.{properties.minor}"
        known = {"name": properties.name, "capability": chip, "processors": properties.multi_processor_count}
        yield {"what": "device", **known, "free_gb": free / 1e9, "total_gb": total / 1e9}
    image = setting.photo()
    start = time.perf_counter()
    result = gpuquant.quantize(image, 8, device=setting.DEVICE)
    seconds = time.perf_counter() - start
    yield {"what": "the first quantize(photo, 8), cache empty", "seconds": seconds, "megapixels": _megapixels(image)}
    expected = gpuquant.quantize(image, 8, device="cpu")
    same = bool((torch.as_tensor(result.labels) == torch.as_tensor(expected.labels)).all())
    row = {"same_labels": same, "mse": result.mse, "mse_on_the_cpu": expected.mse}
    if not same or result.palette.hex != expected.palette.hex:
        row["error"] = f"palette {result.palette.hex}, on the CPU {expected.palette.hex}"
    yield {"what": "its labels beside those of the CPU", **row}
    if setting.REHEARSAL:
        yield _in_the_interpreter()


def _in_the_interpreter() -> dict[str, object]:
    """The same photo by the kernels themselves, which Triton's interpreter runs."""
    code = """
import torch
from gpu import setting
import gpuquant
from gpuquant.ops import kernel_choice
from gpuquant.ops.pixels import cuda as triton_ops
photo = setting.photo((16, 12))
expected = gpuquant.quantize(photo, 3)
kernel_choice.kernels_for = lambda _: triton_ops
found = gpuquant.quantize(photo, 3)
assert bool((torch.as_tensor(found.labels) == torch.as_tensor(expected.labels)).all())
"""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "scripts")])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    row: dict[str, object] = {"what": "the kernels in Triton's interpreter", "same_labels": done.returncode == 0}
    return row if done.returncode == 0 else row | {"error": done.stderr[-500:]}


def _smi() -> dict[str, object]:
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem"]
    try:
        done = subprocess.run([*asked, "--format=csv,noheader"], capture_output=True, text=True, check=False)
    except OSError:
        return {"why_not": "there is no nvidia-smi"}
    return {"says": done.stdout.strip()} if done.returncode == 0 else {"error": done.stderr.strip()[:300]}


def _megapixels(image: object) -> float:
    height, width = image.shape[:2]  # type: ignore[attr-defined]
    return round(height * width / 1e6, 3)


def fill_cache() -> Iterator[dict[str, object]]:
    """Compile every kernel for this chip, on all cores: what the steps after this one start from."""
    if REHEARSAL:
        options = ["90", "--most", "3"]
    else:
        import torch

        major, minor = torch.cuda.get_device_capability()
        options = [f"{major}{minor}", "--every"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "compile_kernels.py"), *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    yield {"what": "compiled", "kernels": len(rows), "seconds": time.perf_counter() - start, "cores": os.cpu_count()}
    if done.returncode:
        yield {"what": "compile_kernels.py", "error": f"ended with {done.returncode}; the log says more"}
    for row in rows:
        wrong = [name for name in ("tf32", "float_atomics") if row[name]]
        if (row["spilled"] and row["kernel"] != "control") or wrong:
            yield {"what": row["kernel"], "error": f"{row['spilled']} bytes spilled; {wrong}"}
    for row in sorted(rows, key=lambda row: -row["registers"])[:10]:
        yield {"what": f"registers of {row['function']}", "registers": row["registers"], "of": row["kernel"]}


def run_tests() -> Iterator[dict[str, object]]:
    """The tests that need a device, and those of the kernels, in one process: it compiles nothing twice."""
    kernels = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/ops/**/test_cuda*.py"))
    files = ["tests/test_side_by_side.py", "tests/test_gpu.py", "tests/ops/test_kernel_choice.py", *kernels]
    options = ["-o", "addopts=", "-o", "filterwarnings=default", "-o", f"faulthandler_timeout={SILENT}"]
    options += ["-p", "no:cacheprovider", "-v", "-rfE", "--tb=short"]
    if REHEARSAL:
        options += ["-k", "gpu or kernel_choice or looked_up"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    said: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        for line in done.stdout:  # as they come: where a kernel never ends, a dump names the test
            sys.stderr.write(line)
            said.append(line.rstrip())
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", said[-1] if said else "")
    counted = {word: int(number) for number, word in found}
    row: dict[str, object] = {"what": " ".join(files), **counted}
    if done.returncode:
        row["error"] = f"pytest ended with {done.returncode}"
    yield row
    for line in said:
        if line.startswith(("FAILED ", "ERROR ")):
            name, _, message = line.partition(" - ")
            yield {"what": name, "error": message[:300] or "failed"}

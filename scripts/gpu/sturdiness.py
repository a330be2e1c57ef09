"""Memory that is read or written by mistake, races, threads, and tensors that begin at odd addresses."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from gpu.setting import DEVICE, REHEARSAL, Row, each_apart, photo
from torch import Tensor

import gpuquant

SMALL = (214, 143)
REPEATS = 3 if REHEARSAL else 100  # as a race shows rarely
PLACES = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
SECONDS = 40  # for one tool


def small_jobs() -> list[Tensor]:
    """A little of everything that has a kernel, or is plain torch on a device."""
    image = photo(SMALL).to(DEVICE)
    found: list[Tensor] = []
    for settings in ({"n_colors": 8}, {"n_colors": 40}, {"n_colors": 5, "dither": "blue-noise"}):
        result = gpuquant.quantize(image, **settings)
        found += [torch.as_tensor(result.labels).to(torch.int32), torch.as_tensor(result.palette.colors)]
    points = image.view(-1, 3)[:3000].double() / 7
    for points_of in (points, points.float()):
        for n_clusters in (5, 20):
            clustered = gpuquant.kmeans(points_of, n_clusters)
            found += [clustered.labels, clustered.centers]
    model = gpuquant.KMeans(6, random_state=0).fit((image.view(-1, 3) / 255).double())
    return [*found, torch.as_tensor(model.labels_)]


def sanitize() -> Iterator[Row]:
    """compute-sanitizer's memcheck and initcheck on small inputs."""
    tool = shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    for kind in ("memcheck", "initcheck"):
        if not tool or REHEARSAL:
            yield {"what": kind, "why_not": "no device" if REHEARSAL else "compute-sanitizer is not installed"}
        else:
            yield {"what": kind, **_sanitized(tool, kind)}


def _sanitized(tool: str, kind: str) -> Row:
    code = "from gpu.sturdiness import small_jobs; small_jobs()"
    command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable, "-c", code]
    paths = os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "PYTHONPATH": paths}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the program under the tool, which would use the device on
            said, _ = process.communicate()
            return {"error": f"stopped after {SECONDS} s", "said": said[-500:]}
    sys.stderr.write(said)
    if process.returncode:
        return {"error": f"ended with {process.returncode}", "said": said[-1500:]}
    return {"said": said.strip().splitlines()[-1:]}


def repeat() -> Iterator[Row]:
    """The same bits every time, from two threads at once, and for views at odd addresses."""
    cases: dict[str, Callable[[], Row]] = {
        f"{REPEATS} repeats": _repeats,
        "two threads at once": _threads,
        "a view that is not aligned": _unaligned,
        "a view with gaps between its rows": _crop,
    }
    yield from each_apart(cases)


def _differing(found: list[Tensor], expected: list[Tensor]) -> int:
    return sum(not torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def _told(n_wrong: int, what: str) -> Row:
    return {"wrong": n_wrong} | ({"error": f"{n_wrong} {what}"} if n_wrong else {})


def _repeats() -> Row:
    expected = small_jobs()
    wrong = sum(_differing(small_jobs(), expected) > 0 for _ in range(REPEATS))
    return _told(wrong, "repeats gave other bits")


def _threads() -> Row:
    images = [photo(SMALL, seed).to(DEVICE) for seed in range(2)]

    def labels(image: Tensor) -> list[Tensor]:
        found = [gpuquant.quantize(image, n_colors) for n_colors in (8, 40)]
        return [torch.as_tensor(one.labels) for one in found]

    expected = [labels(image) for image in images]
    with ThreadPoolExecutor(2) as pool:
        turns = [list(pool.map(labels, images)) for _ in range(max(1, REPEATS // 10))]
    wrong = sum(_differing(found, one) for turn in turns for found, one in zip(turn, expected, strict=True))
    return _told(wrong, "results of two threads have other bits")


def _unaligned() -> Row:
    image = photo(SMALL).to(DEVICE)
    view = torch.zeros(image.numel() + 1, dtype=torch.uint8, device=DEVICE)[1:].view(image.shape)
    view.copy_(image)
    return _told(_apart(view, image), "of labels and palette differ")


def _crop() -> Row:
    image = photo(SMALL).to(DEVICE)
    return _told(_apart(image[:, 1:-3], image[:, 1:-3].clone()), "of labels and palette differ")


def _apart(one: Tensor, other: Tensor) -> int:
    results: list[Any] = [gpuquant.quantize(image, 8) for image in (one, other)]
    found, expected = ([torch.as_tensor(part) for part in (one.labels, one.palette.colors)] for one in results)
    return _differing(found, expected)

"""Check and time gpuquant on a CUDA device. Usage: python scripts/gpu_report.py [--rehearse]

First calls come first, because they compile; with an empty TRITON_CACHE_DIR they show what that takes. Then every
result is compared with the CPU's (gpu_checks.py); differences are told and kept, and the script fails. Then times:
medians, after warming up, over several inputs in rotation. Beside each stands its floor: the bytes it must move over
the bandwidth of a copy on this device, or the arithmetic it must do, whichever takes longer. Peers run in turn with
ours. All goes to benchmarks/results/gpu-NAME.json and to a table. Where there is no CUDA device this says so and
changes nothing. --rehearse runs all of it on the CPU with small pictures, and writes nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_checks import SETTINGS, check_everything
from PIL import Image
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import load_sample_image
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import gpuquant
from gpuquant import ops
from gpuquant.ops.color_codes import colors_from_codes
from gpuquant.ops.dense import DenseLloyd
from gpuquant.ops.dense_points import DensePoints
from gpuquant.palette_batch import fit_palettes
from gpuquant.palette_fit import fit_palette

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
ROUNDS, INPUTS = 20, 3


def pictures(width: int, height: int, n_each: int = INPUTS) -> dict[str, list[Tensor]]:
    """A photograph with sensor noise, one flat colour, two colours, and noise; several of each."""
    china = np.asarray(
        Image.fromarray(load_sample_image("china.jpg")).resize((width, height), Image.Resampling.LANCZOS)
    )
    found: dict[str, list[Tensor]] = {"photo": [], "one colour": [], "two colours": [], "noise": []}
    for seed in range(n_each):
        random = np.random.RandomState(seed)
        noisy = (china + random.normal(0, 2, china.shape)).round().clip(0, 255).astype(np.uint8)
        two = np.where(random.uniform(size=(height, width, 1)) < 0.5, 20, 200).astype(np.uint8).repeat(3, axis=2)
        every = random.randint(0, 256, china.shape).astype(np.uint8)
        for name, picture in zip(found, (noisy, np.full_like(china, 60 + seed), two, every), strict=True):
            found[name].append(torch.from_numpy(picture))
    return found


@dataclass(frozen=True)
class Case:
    """Something to time on several inputs, its floor, and peers on the same inputs."""

    what: str
    function: Callable[[Any], object]
    inputs: list[Any]
    n_bytes: float = 0
    n_operations: float = 0
    n_uploaded: float = 0  # bytes
    n_downloaded: float = 0
    peers: dict[str, Callable[[Any], object]] = field(default_factory=dict)
    rounds: int = ROUNDS


class Report:
    """Times on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.on_cuda = device, device.type == "cuda"
        self.first: dict[str, float] = {}  # ms
        self.rows: list[dict[str, Any]] = []
        numbers = torch.zeros(1 << 28 if self.on_cuda else 1 << 22, dtype=torch.uint8, device=device)
        self.bandwidth = 2 * self._copied(numbers, torch.empty_like(numbers))  # bytes read plus written a second
        host = torch.zeros(len(numbers), dtype=torch.uint8, pin_memory=self.on_cuda)
        self.uploaded, self.downloaded = self._copied(host, numbers), self._copied(numbers, host)  # bytes a second
        self.flops = self._multiplied()

    def call_first(self, case: Case) -> None:
        """Time the first call on the host's clock: it compiles."""
        start = time.perf_counter()
        case.function(case.inputs[0])
        if self.on_cuda:
            torch.cuda.synchronize()
        self.first[case.what] = 1e3 * (time.perf_counter() - start)

    def time(self, case: Case) -> None:
        """Add a row: the first call, the median of the others, its floor, and how much longer the peers take."""
        busy = case.n_bytes / self.bandwidth, case.n_operations / self.flops
        floor = max(*busy, case.n_uploaded / self.uploaded + case.n_downloaded / self.downloaded)
        called = {"": case.function, **case.peers}
        for function in called.values():
            self._milliseconds(function, case.inputs[0])
        times: dict[str, list[float]] = {name: [] for name in called}
        for turn in range(case.rounds):
            given = case.inputs[turn % len(case.inputs)]
            for name, function in called.items():
                times[name].append(self._milliseconds(function, given))
        medians = {name: statistics.median(found) for name, found in times.items()}
        median = medians.pop("")
        spread = min(times[""]), max(times[""])
        row = {"what": case.what, "first_ms": self.first[case.what], "median_ms": median, "from_to_ms": spread}
        ratios = {name: other / median for name, other in medians.items()}
        self.rows.append(row | {"runs": case.rounds, "floor_ms": 1e3 * floor, "times_as_long": ratios})

    def table(self) -> str:
        lines = ["| what | first, ms | median, ms | floor, ms | of the floor | peers, times as long |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for row in self.rows:
            numbers = f"{row['first_ms']:.2f} | {row['median_ms']:.3f} | {row['floor_ms']:.4f}"
            peers = ", ".join(f"{name} {ratio:.1f}" for name, ratio in row["times_as_long"].items())
            lines.append(f"| {row['what']} | {numbers} | {row['median_ms'] / row['floor_ms']:.1f} | {peers} |")
        return "\n".join(lines)

    def _milliseconds(self, function: Callable[[Any], object], given: Any) -> float:
        if not self.on_cuda:
            start = time.perf_counter()
            function(given)
            return 1e3 * (time.perf_counter() - start)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        function(given)
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))

    def _copied(self, source: Tensor, target: Tensor) -> float:  # bytes a second
        times = [self._milliseconds(target.copy_, source) for _ in range(10)]
        return 1e3 * len(source) / statistics.median(times)

    def _multiplied(self) -> float:  # single-precision operations a second; a multiplication and addition is two
        size = 4096 if self.on_cuda else 256
        matrix = torch.ones(size, size, device=self.device)
        times = [self._milliseconds(matrix.matmul, matrix) for _ in range(10)]
        return 1e3 * 2 * size**3 / statistics.median(times)


@dataclass(frozen=True)
class Step:
    """One Lloyd step on the pixels of a photo as they are: ours, and what a peer needs."""

    points: Tensor  # [1, N, 3] float32
    centers: Tensor  # [1, K, 3] float32
    state: DenseLloyd

    @classmethod
    def of(cls, photo: Tensor, n_clusters: int) -> "Step":
        points = photo.view(1, -1, 3).float()
        weights = torch.ones(points.shape[:2], dtype=torch.float64, device=points.device)
        return cls(points, points[:, :n_clusters], DenseLloyd(DensePoints(points, weights, None), n_clusters))

    def ours(self) -> None:
        self.state.step(self.state.enter(self.centers), [0])

    def plain_torch(self) -> None:
        sums = torch.zeros_like(self.centers[0])
        counts = torch.zeros(len(sums), device=sums.device)
        for part in self.points[0].split(1 << 20):
            labels = torch.cdist(part, self.centers[0]).argmin(dim=1)
            sums.index_add_(0, labels, part)
            counts.index_add_(0, labels, torch.ones_like(part[:, 0]))


def flash_kmeans() -> Callable[[Step], object] | None:
    """One iteration of the package flash-kmeans, where it is installed."""
    try:
        from flash_kmeans import batch_kmeans_Euclid
    except ImportError:
        return None
    return lambda step: batch_kmeans_Euclid(
        step.points, step.centers.shape[1], max_iters=1, init_centroids=step.centers
    )


def quantizing(device: torch.device, kinds: dict[str, list[Tensor]], small: list[Tensor]) -> Iterator[Case]:
    photos = kinds["photo"]
    n_pixels = photos[0].numel() // 3
    there = {name: [picture.to(device) for picture in some] for name, some in kinds.items()}
    for name, some in there.items():
        flat = [picture.view(-1, 3) for picture in some]
        yield Case(f"count colours, {name}", ops.count_colors, flat, n_bytes=3 * n_pixels)
        quantize = partial(gpuquant.quantize, n_colors=8)
        yield Case(f"quantize, {name}, K = 8", quantize, some, n_bytes=7 * n_pixels)
    for n_colors in (64, 256):
        quantize = partial(gpuquant.quantize, n_colors=n_colors)
        yield Case(f"quantize, photo, K = {n_colors}", quantize, there["photo"], n_bytes=7 * n_pixels)
    hosted = [photo.pin_memory() if device.type == "cuda" else photo for photo in photos]
    what = "quantize, photo, K = 8, from pinned memory and back"
    quantize = partial(gpuquant.quantize, n_colors=8, device=device)
    yield Case(what, quantize, hosted, n_uploaded=3 * n_pixels, n_downloaded=n_pixels)
    histograms = [ops.count_colors(photo.view(-1, 3).to(device)) for photo in small]
    colors = pad_sequence([colors_from_codes(codes) for codes, _ in histograms], batch_first=True)
    counts = pad_sequence([counts for _, counts in histograms], batch_first=True)
    yield Case(
        f"kmeans, {len(small)} photos as one batch, K = 16",
        lambda given: gpuquant.kmeans(given[0], 16, weights=given[1]),
        [(colors, counts)],
        n_bytes=colors.numel() + 8 * counts.numel(),
        peers={
            "one after another": lambda given: [gpuquant.kmeans(c, 16, weights=n) for c, n in zip(*given, strict=True)]
        },
        rounds=5,
    )
    settings: dict[str, Any] = {"max_iter": 300, "tol": 1e-4, "random_state": 0}
    alone: dict[str, Any] = settings | {"init": "k-means++", "n_init": 1}
    yield Case(
        f"palettes of {len(small)} photos as one batch, K = 16",
        lambda given: fit_palettes(given, 16, **settings),
        [[counted(photo, device) for photo in small]],
        n_bytes=colors.numel() + 8 * counts.numel(),
        peers={"one after another": lambda given: [fit_palette(*one, 16, **alone) for one in given]},
        rounds=5,
    )


def counted(photo: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    histogram = gpuquant.ColorHistogram(device)
    histogram.add(photo)
    return histogram.colors, histogram.counts


def clustering(device: torch.device, photos: list[Tensor]) -> Iterator[Case]:
    n_pixels = photos[0].numel() // 3
    flash = flash_kmeans()
    peers: dict[str, Callable[[Step], object]] = {"torch": Step.plain_torch}
    if flash:
        peers["flash-kmeans"] = flash
    for n_clusters in (16, 64, 256):
        steps = [Step.of(photo.to(device), n_clusters) for photo in photos]
        operations = 2 * 6 * n_pixels * n_clusters  # six instructions for every pair, of which a multiply-add is one
        what = f"Lloyd step on pixels, float32, K = {n_clusters}"
        yield Case(what, Step.ours, steps, n_bytes=28 * n_pixels, n_operations=operations, peers=peers)
    hosted = [np.divide(photo.numpy(), 255).reshape(-1, 3) for photo in photos]
    ours, theirs = gpuquant.KMeans(**SETTINGS, device=device), Reference(**SETTINGS)
    yield Case(
        "KMeans, K = 8, 5 iterations, an array",
        ours.fit,
        hosted,
        n_uploaded=24 * n_pixels,
        n_downloaded=4 * n_pixels,
        peers={"scikit-learn": theirs.fit},
        rounds=3,
    )
    yield Case(
        "KMeans, K = 8, 5 iterations, a tensor",
        lambda given: ours.fit(given[1]),
        [(samples, torch.from_numpy(samples).to(device)) for samples in hosted[:1]],
        n_bytes=28 * n_pixels,
        peers={"scikit-learn": lambda given: theirs.fit(given[0])},
        rounds=3,
    )


def versions() -> dict[str, str | None]:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError:
        driver = "unknown"
    found = {name: version(name) for name in ("torch", "triton", "numpy", "scikit-learn")}
    own = {"python": platform.python_version(), "gpuquant": gpuquant.__version__}
    return own | found | {"cuda": torch.version.cuda, "driver": driver}


def main() -> None:
    parser = argparse.ArgumentParser(description="Check and time gpuquant on a CUDA device.")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, small, writing nothing")
    rehearsal = parser.parse_args().rehearse
    if not rehearsal and not torch.cuda.is_available():
        print("No CUDA device: nothing was measured, nothing was written.")
        return
    device = torch.device("cpu" if rehearsal else "cuda")
    kinds = pictures(64, 48) if rehearsal else pictures(4271, 3204)
    small = pictures(24, 16, 32)["photo"] if rehearsal else pictures(1154, 866, 32)["photo"]
    warnings.simplefilter("ignore", ConvergenceWarning)
    installed = {} if rehearsal else versions()
    report = Report(device)
    cases = [*quantizing(device, kinds, small), *clustering(device, kinds["photo"])]
    for case in cases:
        report.call_first(case)
    n_compared, differences = check_everything(kinds, device)
    print(f"{n_compared - len(differences)} of {n_compared} results are those of the CPU.", flush=True)
    for difference in differences:
        print(f"DIFFERS: {difference}", flush=True)
    for case in cases:
        report.time(case)
    print(report.table())
    if rehearsal:
        raise SystemExit(bool(differences))
    name = torch.cuda.get_device_name().lower().replace(" ", "-")
    document = {"device": name, "versions": installed, "pixels": kinds["photo"][0].numel() // 3}
    document |= {"copied": report.bandwidth, "uploaded": report.uploaded, "downloaded": report.downloaded}
    document |= {"compared": n_compared, "differences": differences}
    document |= {"flops": report.flops, "cores": os.cpu_count(), "times": report.rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gpu-{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    raise SystemExit(bool(differences))


if __name__ == "__main__":
    main()

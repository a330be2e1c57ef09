"""Check and time gpuquant on a CUDA device. Usage: python scripts/gpu_report.py [--rehearse]

Every result is compared with the CPU's first; a difference ends the run. Then times: medians, after warming up, over
several inputs in rotation, the first call's compilation apart, each beside its floor (the bytes it must move over the
bandwidth of a copy on this device). They go to benchmarks/results/gpu-NAME.json and to a table. Where there is no CUDA
device this says so and changes nothing. --rehearse runs all of it on the CPU with small pictures, and writes nothing.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

import gpuquant
from gpuquant import ops
from gpuquant.ops.dense import DenseLloyd
from gpuquant.ops.dense_points import DensePoints

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
ROUNDS, INPUTS = 20, 3


def pictures(width: int, height: int) -> dict[str, list[Tensor]]:
    """A photograph with sensor noise, one flat colour, two colours, and noise; several of each."""
    china = np.asarray(
        Image.fromarray(load_sample_image("china.jpg")).resize((width, height), Image.Resampling.LANCZOS)
    )
    found: dict[str, list[Tensor]] = {"photo": [], "one colour": [], "two colours": [], "noise": []}
    for seed in range(INPUTS):
        random = np.random.RandomState(seed)
        noisy = (china + random.normal(0, 2, china.shape)).round().clip(0, 255).astype(np.uint8)
        two = np.where(random.uniform(size=(height, width, 1)) < 0.5, 20, 200).astype(np.uint8).repeat(3, axis=2)
        every = random.randint(0, 256, china.shape).astype(np.uint8)
        for name, picture in zip(found, (noisy, np.full_like(china, 60 + seed), two, every), strict=True):
            found[name].append(torch.from_numpy(picture))
    return found


class Report:
    """Times on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rows: list[dict[str, Any]] = []
        self.bandwidth = self._copy_bandwidth()

    def time(self, what: str, function: Callable[[Any], object], inputs: list[Any], n_bytes: int) -> None:
        """Add a row: the first call, the median of the others, and the floor by bytes read and written."""
        first = self._milliseconds(function, inputs[0])
        times = [self._milliseconds(function, inputs[turn % len(inputs)]) for turn in range(ROUNDS)]
        floor, median = 1e3 * n_bytes / self.bandwidth, statistics.median(times)
        row = {"what": what, "first_ms": first, "median_ms": median, "floor_ms": floor, "of_floor": median / floor}
        self.rows.append(row)

    def _milliseconds(self, function: Callable[[Any], object], given: Any) -> float:
        if self.device.type == "cpu":
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

    def _copy_bandwidth(self) -> float:  # bytes read plus written a second
        numbers = torch.zeros(1 << 28 if self.device.type == "cuda" else 1 << 22, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(numbers)
        times = [self._milliseconds(target.copy_, numbers) for _ in range(10)]
        return 2e3 * len(numbers) / statistics.median(times)


def same(what: str, found: Any, expected: Any) -> None:
    """End the run unless two results are equal."""
    if not torch.equal(torch.as_tensor(found).cpu().long(), torch.as_tensor(expected).cpu().long()):
        raise SystemExit(f"{what} differ from those of the CPU; nothing was written.")


def check(photo: Tensor, device: torch.device) -> None:
    """End the run unless the device finds what the CPU finds, and twice the same."""
    for n_colors in (8, 256):
        expected = gpuquant.quantize(photo, n_colors)
        for _ in range(2):
            found = gpuquant.quantize(photo.to(device), n_colors)
            same(f"the colours of quantize, K = {n_colors},", found.palette.colors, expected.palette.colors)
            same(f"the labels of quantize, K = {n_colors},", found.labels, expected.labels)
    samples = photo.reshape(-1, 3).double() / 255
    settings: dict[str, Any] = {"n_clusters": 8, "random_state": 0, "max_iter": 5}
    ours, theirs = gpuquant.KMeans(**settings).fit(samples.to(device)), gpuquant.KMeans(**settings).fit(samples)
    equal = float((ours.labels_.cpu() == theirs.labels_).double().mean())
    if equal < 0.9999 or abs(ours.inertia_ / theirs.inertia_ - 1) > 1e-6:
        raise SystemExit(f"KMeans: {equal:.4%} of the labels, inertia {ours.inertia_} and {theirs.inertia_}.")


def check_operations(kinds: dict[str, list[Tensor]], device: torch.device) -> None:
    """The same for single operations."""
    for name, (picture, *_) in kinds.items():
        pixels = picture.view(-1, 3)
        codes, counts = ops.count_colors(pixels)
        found_codes, found_counts = ops.count_colors(pixels.to(device))
        same(f"the colours of {name}", found_codes, codes)
        same(f"the counts of {name}", found_counts, counts)
        ranks = ops.rank_pixels(pixels.to(device), codes.to(device))
        same(f"the ranks of {name}", ranks, ops.rank_pixels(pixels, codes))


def lloyd_inputs(photos: list[Tensor], n_clusters: int, device: torch.device) -> list[tuple[DenseLloyd, Tensor]]:
    states = []
    for photo in photos:
        points = photo.view(1, -1, 3).to(device).float()
        weights = torch.ones(points.shape[:2], dtype=torch.float64, device=device)
        state = DenseLloyd(DensePoints(points, weights, None), n_clusters)
        states.append((state, state.enter(points[:, :n_clusters])))
    return states


def main() -> None:
    parser = argparse.ArgumentParser(description="Check and time gpuquant on a CUDA device.")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, small, writing nothing")
    rehearsal = parser.parse_args().rehearse
    if not rehearsal and not torch.cuda.is_available():
        print("No CUDA device: nothing was measured, nothing was written.")
        return
    device = torch.device("cpu" if rehearsal else "cuda")
    kinds = pictures(64, 48) if rehearsal else pictures(4271, 3204)
    photos = kinds["photo"]
    n_pixels = photos[0].numel() // 3
    check_operations(kinds, device)
    check(photos[0], device)
    print("Every result is that of the CPU.")

    report = Report(device)
    there = {name: [picture.to(device) for picture in some] for name, some in kinds.items()}
    for name, some in there.items():
        report.time(f"count colours, {name}", lambda pixels: ops.count_colors(pixels.view(-1, 3)), some, 3 * n_pixels)
    for n_colors in (8, 256):
        quantize = partial(gpuquant.quantize, n_colors=n_colors)
        report.time(f"quantize, K = {n_colors}", quantize, there["photo"], 7 * n_pixels)
    for n_clusters in (16, 64, 256):
        states = lloyd_inputs(photos, n_clusters, device)
        report.time(f"Lloyd step, float32, K = {n_clusters}", lambda s: s[0].step(s[1], [0]), states, 20 * n_pixels)
    samples = [photo.reshape(-1, 3).double() / 255 for photo in there["photo"]]
    model = gpuquant.KMeans(n_clusters=8, random_state=0, max_iter=5)
    report.time("KMeans, K = 8, 5 iterations, float64", model.fit, samples, 28 * n_pixels)

    print("| what | first, ms | median, ms | floor, ms | of the floor |\n| --- | --- | --- | --- | --- |")
    for row in report.rows:
        times = f"{row['first_ms']:.2f} | {row['median_ms']:.3f} | {row['floor_ms']:.4f} | {row['of_floor']:.1f}"
        print(f"| {row['what']} | {times} |")
    if rehearsal:
        return
    name = torch.cuda.get_device_name().lower().replace(" ", "-")
    versions = {"python": platform.python_version(), "torch": torch.__version__, "gpuquant": gpuquant.__version__}
    RESULTS.mkdir(exist_ok=True)
    document = {"device": name, "versions": versions, "pixels": n_pixels, "bytes_a_second": report.bandwidth}
    (RESULTS / f"gpu-{name}.json").write_text(json.dumps(document | {"times": report.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

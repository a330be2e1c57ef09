"""Every operation on a CUDA device beside the CPU, and beside itself; used by gpu_report.py."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gpuquant
from gpuquant import ops
from gpuquant.initialization import kmeans_plus_plus
from gpuquant.ops.color_codes import N_CODES

SETTINGS: dict[str, Any] = {"n_clusters": 8, "random_state": 0, "max_iter": 5}


def check_everything(kinds: dict[str, list[Tensor]], device: torch.device) -> tuple[int, list[str]]:
    """How many results were compared, and what differed."""
    checks = Checks(device)
    for name, (picture, *_) in kinds.items():
        checks.counting(name, picture.view(-1, 3))
        for n_colors in (8, 256):
            checks.quantizing(f"{name}, K = {n_colors}", picture, n_colors)
    pixels = kinds["photo"][0].view(-1, 3)
    checks.looking_up(pixels)
    for n_columns, dtype, n_clusters in product((1, 2, 3, 4, 6), (torch.float32, torch.float64), (1, 16, 17, 256)):
        checks.stepping(n_columns, dtype, n_clusters)
    checks.estimating(pixels)
    return checks.n_compared, checks.differences


class Checks:
    """Compares, counts, and keeps what differs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.n_compared = 0
        self.differences: list[str] = []

    def same(self, what: str, found: Any, expected: Any) -> None:
        found, expected = (torch.as_tensor(values).cpu().double() for values in (found, expected))
        self._count(torch.equal(found, expected), f"{what}: not those of the CPU")

    def close(self, what: str, found: Any, expected: Any, tolerance: float) -> None:
        found, expected = (torch.as_tensor(values).cpu().double() for values in (found, expected))
        apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300))
        self._count(apart <= tolerance, f"{what}: {apart:.1e} from those of the CPU, of the largest")

    def alike(self, what: str, found: Any, expected: Any) -> None:
        share = float((torch.as_tensor(found).cpu() == torch.as_tensor(expected).cpu()).double().mean())
        self._count(share >= 0.9999, f"{what}: {share:.4%} are those of the CPU")

    def repeated(self, what: str, function: Callable[[], Any]) -> Any:
        """The result of a function that gives the same bits twice."""
        found, again = function(), function()
        for one, other in zip(found, again, strict=True):
            self._count(torch.equal(torch.as_tensor(one), torch.as_tensor(other)), f"{what}: not the same twice")
        return found

    def _count(self, agrees: bool, message: str) -> None:
        self.n_compared += 1
        if not agrees:
            self.differences.append(message)

    def counting(self, name: str, pixels: Tensor) -> None:
        codes, counts = ops.count_colors(pixels)
        found = self.repeated(f"counts of {name}", lambda: ops.count_colors(pixels.to(self.device)))
        self.same(f"colours of {name}", found[0], codes)
        self.same(f"counts of {name}", found[1], counts)
        histogram = gpuquant.ColorHistogram(self.device)
        histogram.add(pixels)  # counted while on the way
        self.same(f"counts of {name} from the host", histogram.counts.sort().values, counts.sort().values)
        ranks = ops.rank_pixels(pixels.to(self.device), codes.to(self.device))
        self.same(f"ranks of {name}", ranks, ops.rank_pixels(pixels, codes))

    def looking_up(self, pixels: Tensor) -> None:
        table = torch.arange(N_CODES, dtype=torch.int32) * 40_503
        for dtype, given in product((torch.uint8, torch.uint16), (pixels, pixels[:, 0].contiguous())):
            own = table.view(dtype)[: N_CODES * table.element_size() // dtype.itemsize : 4 // dtype.itemsize]
            own = own.contiguous()
            labels = ops.apply_lookup(given.to(self.device), own.to(self.device))
            self.same(f"labels of type {dtype}", labels, ops.apply_lookup(given, own))

    def quantizing(self, what: str, picture: Tensor, n_colors: int) -> None:
        expected = gpuquant.quantize(picture, n_colors, device="cpu")

        def quantize(image: Tensor) -> tuple[Any, Any, float]:
            found = gpuquant.quantize(image, n_colors, device=self.device)
            return found.palette.colors, found.labels, found.mse

        there = picture.to(self.device)
        for image in (there, picture):
            colors, labels, mse = self.repeated(f"quantize, {what}", lambda image=image: quantize(image))
            self.same(f"palette of {what}", colors, expected.palette.colors)
            self.same(f"labels of {what}", labels, expected.labels)
            self.same(f"error of {what}", mse, expected.mse)

    def stepping(self, n_columns: int, dtype: torch.dtype, n_clusters: int) -> None:
        """Seeding, and Lloyd's algorithm from what the CPU has chosen."""
        what = f"D = {n_columns}, {dtype}, K = {n_clusters}"
        random = np.random.RandomState(n_columns)
        middles = random.normal(0, 9, (12, n_columns))
        points = torch.from_numpy(middles[random.randint(0, 12, 20_001)] + random.normal(0, 1, (20_001, n_columns)))
        points, weights = points.to(dtype)[None], torch.from_numpy(random.uniform(0, 2, (1, 20_001)))
        chosen, _ = kmeans_plus_plus(ops.point_set(points, weights), n_clusters, [np.random.RandomState(0)], 1)

        def seed() -> list[Tensor]:
            there = ops.point_set(points.to(self.device), weights.to(self.device))
            return [kmeans_plus_plus(there, n_clusters, [np.random.RandomState(0)], 1)[0]]

        def cluster(max_iter: int, where: torch.device) -> list[Tensor]:
            settings = {"weights": weights[0].to(where), "max_iter": max_iter, "init": chosen[0].to(where)}
            result = gpuquant.kmeans(points[0].to(where), n_clusters, **settings)
            return [result.labels, result.centers, result.inertia]

        self.close(f"k-means++, {what}", self.repeated(f"k-means++, {what}", seed)[0], chosen, 1e-12)
        # beyond four columns single precision is rounded in another order, and a label that falls otherwise sets the
        # later iterations apart
        rounds = (1,) if n_columns > 4 and dtype == torch.float32 else (1, 20)
        for max_iter in rounds:
            labels, centers, inertia = cluster(max_iter, torch.device("cpu"))
            found = self.repeated(f"kmeans, {what}", lambda max_iter=max_iter: cluster(max_iter, self.device))
            self.alike(f"labels, {what}, {max_iter} iterations", found[0], labels)
            self.close(f"centers, {what}, {max_iter} iterations", found[1], centers, 1e-4)
            self.close(f"inertia, {what}, {max_iter} iterations", found[2], inertia, 1e-6)

    def estimating(self, pixels: Tensor) -> None:
        samples = pixels.double() / 255
        theirs = gpuquant.KMeans(**SETTINGS, device="cpu").fit(samples.numpy())
        for what, given in (("a tensor", samples.to(self.device)), ("an array", samples.numpy())):
            ours = gpuquant.KMeans(**SETTINGS, device=self.device).fit(given)
            self.alike(f"labels of KMeans, {what}", ours.labels_, theirs.labels_)
            self.close(f"inertia of KMeans, {what}", ours.inertia_, theirs.inertia_, 1e-6)

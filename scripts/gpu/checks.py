"""Every operation on the device beside the CPU, and beside itself."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from gpu.setting import CPU, DEVICE, KINDS, REHEARSAL, Row, each_apart
from torch import Tensor

import gpuquant
from gpuquant import ops
from gpuquant.clustering.initialization import kmeans_plus_plus
from gpuquant.colors.codes import N_CODES

SETTINGS: dict[str, Any] = {"n_clusters": 8, "random_state": 0, "max_iter": 5}
N_POINTS = 2_001 if REHEARSAL else 20_001  # odd, so that the last block of a kernel is not full
POINTS_AT_ONCE = 1 << 20  # scores: 8 MiB of float64


def compare() -> Iterator[Row]:
    """Counts, lookups, palettes, k-means of every kind of points, and the estimator; noise, which takes long, last."""
    photo, cases = KINDS["photo"](), {}
    cases["lookup"] = partial(_checked, lambda checks: checks.looking_up(photo.view(-1, 3)))
    for n_columns, dtype in product((1, 2, 3, 4, 6), (torch.float32, torch.float64)):
        cases[f"k-means, D = {n_columns}, {dtype}"] = partial(_stepped, n_columns, dtype)
    cases["KMeans"] = partial(_checked, lambda checks: checks.estimating(photo.view(-1, 3)))
    for kind in KINDS:
        cases[f"counting, {kind}"] = partial(_counted, kind)
        for n_colors in (8, 256):
            cases[f"quantize, {kind}, K = {n_colors}"] = partial(_quantized, kind, n_colors)
    yield from each_apart(cases)


def _checked(compare_with: Callable[["Checks"], None]) -> Row:
    checks = Checks()
    compare_with(checks)
    row: Row = {"compared": checks.n_compared, "differences": checks.differences}
    return row | ({"error": checks.differences[0]} if checks.differences else {})


def _stepped(n_columns: int, dtype: torch.dtype) -> Row:
    def step(checks: "Checks") -> None:
        for n_clusters in (1, 16, 17, 256):
            checks.stepping(n_columns, dtype, n_clusters)

    return _checked(step)


def _counted(kind: str) -> Row:
    return _checked(lambda checks: checks.counting(kind, KINDS[kind]().view(-1, 3)))


def _quantized(kind: str, n_colors: int) -> Row:
    return _checked(lambda checks: checks.quantizing(f"{kind}, K = {n_colors}", KINDS[kind](), n_colors))


def wrong_labels(
    points: Tensor,  # [N, D] float32 or float64
    centers: Tensor,  # [K, D]
    labels: Tensor,  # [N]
    rounded: torch.dtype,  # in which scores were computed
) -> int:
    """Count the labels that rounding does not explain.

    Scores |c|^2 - 2 x.c of D columns, computed in `rounded` about the points' mean, are off by at most
    (2 D + 2) eps (|c|^2 + 2 sum |x c|) each (N. J. Higham 2002, "Accuracy and stability of numerical algorithms", 3.1).
    A label is explained if its center's exact score is no further above the lowest than two such errors allow.
    """
    origin = points.double().mean(dim=0)
    own, eps, n_wrong = centers.double() - origin, torch.finfo(rounded).eps, 0
    for start in range(0, len(points), POINTS_AT_ONCE // len(own)):
        part = slice(start, start + POINTS_AT_ONCE // len(own))
        rows = points[part].double() - origin
        scores = own.square().sum(dim=1) - 2 * rows @ own.T
        error = (2 * rows.shape[1] + 2) * eps * (own.square().sum(dim=1) + 2 * rows.abs() @ own.abs().T)
        lowest, place = scores.min(dim=1)
        chosen = labels[part, None].long()
        allowed = error.gather(1, chosen) + error.gather(1, place[:, None])
        n_wrong += int((scores.gather(1, chosen) - lowest[:, None] > allowed).sum())
    return n_wrong


class Checks:
    """Compares, counts, and keeps what differs."""

    def __init__(self) -> None:
        self.n_compared = 0
        self.differences: list[str] = []

    def same(self, what: str, found: Any, expected: Any) -> None:
        found, expected = (torch.as_tensor(values).cpu().double() for values in (found, expected))
        self._count(torch.equal(found, expected), f"{what}: not those of the CPU")

    def close(self, what: str, found: Any, expected: Any, tolerance: float) -> None:
        found, expected = (torch.as_tensor(values).cpu().double() for values in (found, expected))
        apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300))
        self._count(apart <= tolerance, f"{what}: {apart:.1e} from those of the CPU, of the largest")

    def nearest(self, what: str, points: Tensor, centers: Tensor, labels: Tensor, rounded: torch.dtype) -> None:
        n_wrong = wrong_labels(points.cpu(), centers.cpu(), labels.cpu(), rounded)
        self._count(n_wrong == 0, f"{what}: {n_wrong} points have a center that is not the nearest")

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
        keys, counts = ops.count_colors(pixels)
        found = self.repeated(f"counts of {name}", lambda: ops.count_colors(pixels.to(DEVICE)))
        self.same(f"colors of {name}", found[0], keys)
        self.same(f"counts of {name}", found[1], counts)
        histogram = gpuquant.ColorHistogram(DEVICE)
        histogram.add(pixels)  # counted while on the way
        self.same(f"counts of {name} from the host", histogram.counts.sort().values, counts.sort().values)
        samples = pixels.reshape(len(pixels), -1)
        folded = [ops.fold_levels(samples.to(where)) for where in (DEVICE, "cpu")]
        there, here = (ops.rank_keys(found[2], found[1]) for found in folded if found)
        self.same(f"ranks of {name}", there, here)

    def looking_up(self, pixels: Tensor) -> None:
        keys = torch.arange(N_CODES, dtype=torch.int32)
        colors, numbers = ops.colors_from_keys(keys), keys * 40_503
        for dtype, given in product((torch.uint8, torch.uint16), (pixels, pixels[:, 0].contiguous())):
            values = numbers.view(dtype)[:: 4 // dtype.itemsize].contiguous()
            there, here = (ops.lookup_table(colors.to(where), values.to(where)) for where in (DEVICE, "cpu"))
            with there as table, here as own:
                labels = ops.apply_lookup(given.to(DEVICE), table)
                self.same(f"labels of type {dtype}", labels, ops.apply_lookup(given, own))

    def quantizing(self, what: str, picture: Tensor, n_colors: int) -> None:
        expected = gpuquant.quantize(picture, n_colors, device="cpu")

        def quantize(image: Tensor) -> tuple[Any, Any, float]:
            found = gpuquant.quantize(image, n_colors, device=DEVICE)
            return found.palette.colors, found.labels, found.mse

        there = picture.to(DEVICE)
        for image in (there, picture):
            colors, labels, mse = self.repeated(f"quantize, {what}", partial(quantize, image))
            self.same(f"palette of {what}", colors, expected.palette.colors)
            self.same(f"labels of {what}", labels, expected.labels)
            self.same(f"error of {what}", mse, expected.mse)

    def stepping(self, n_columns: int, dtype: torch.dtype, n_clusters: int) -> None:
        """Seeding, and Lloyd's algorithm from what the CPU has chosen."""
        what = f"D = {n_columns}, {dtype}, K = {n_clusters}"
        random = np.random.RandomState(n_columns)
        middles = random.normal(0, 9, (12, n_columns))
        drawn = middles[random.randint(0, 12, N_POINTS)] + random.normal(0, 1, (N_POINTS, n_columns))
        points = torch.from_numpy(drawn).to(dtype)[None]
        weights = torch.from_numpy(random.uniform(0, 2, (1, N_POINTS)))
        chosen, _ = kmeans_plus_plus(ops.point_set(points, weights), n_clusters, [np.random.RandomState(0)], 1)

        def seed() -> list[Tensor]:
            there = ops.point_set(points.to(DEVICE), weights.to(DEVICE))
            return [kmeans_plus_plus(there, n_clusters, [np.random.RandomState(0)], 1)[0]]

        def cluster(max_iter: int, where: torch.device) -> list[Tensor]:
            settings = {"weights": weights[0].to(where), "max_iter": max_iter, "init": chosen[0].to(where)}
            result = gpuquant.kmeans(points[0].to(where), n_clusters, **settings)
            return [result.labels, result.centers, result.inertia]

        self.close(f"k-means++, {what}", self.repeated(f"k-means++, {what}", seed)[0], chosen, 1e-12)
        for max_iter in (1, 20):
            _, centers, inertia = cluster(max_iter, CPU)
            found = self.repeated(f"kmeans, {what}", partial(cluster, max_iter, DEVICE))
            name = f"{what}, {max_iter} iterations"
            self.nearest(f"labels, {name}", points[0], found[1], found[0], dtype)
            if max_iter == 1 or dtype == torch.float64:
                self.close(f"centers, {name}", found[1], centers, 1e-4)
                self.close(f"inertia, {name}", found[2], inertia, 1e-6)
            else:  # a near tie that falls otherwise sets later iterations apart, to another optimum at most
                self.close(f"inertia, {name}", found[2], inertia, 1e-2)

    def estimating(self, pixels: Tensor) -> None:
        samples = pixels.double() / 255
        theirs = gpuquant.KMeans(**SETTINGS, device="cpu").fit(samples.numpy())
        for what, given in (("a tensor", samples.to(DEVICE)), ("an array", samples.numpy())):
            ours = gpuquant.KMeans(**SETTINGS, device=DEVICE).fit(given)
            centers, labels = (torch.as_tensor(part).cpu() for part in (ours.cluster_centers_, ours.labels_))
            self.nearest(f"labels of KMeans, {what}", samples, centers, labels, torch.float64)
            self.close(f"inertia of KMeans, {what}", ours.inertia_, theirs.inertia_, 1e-6)

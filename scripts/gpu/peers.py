"""Peers: times of others for the same, where they are installed."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu.clock import timed
from gpu.operations import LloydStep, on_device
from gpu.setting import DEVICE, REHEARSAL, ROUNDS, Row, each_apart, photo
from sklearn.cluster import KMeans as Reference

import gpuquant

SETTINGS: dict[str, Any] = {"n_clusters": 8, "random_state": 0, "max_iter": 5}
FEW = min(5, ROUNDS)


def time_peers() -> Iterator[Row]:
    """One Lloyd step on the pixels of a photo, by ours and by others."""
    cases: dict[str, Callable[[], Row]] = {}
    for n_clusters in (16, 64, 256):
        for name, (package, run) in PEERS.items():
            if find_spec(package):
                cases[f"{name}, one iteration, K = {n_clusters}"] = partial(_time, run, n_clusters)
    yield from each_apart(cases)
    for name, (package, _) in PEERS.items():
        if not find_spec(package):
            yield {"what": name, "why_not": f"{package} is not installed"}


def _time(run: Callable[[LloydStep], object], n_clusters: int) -> Row:
    return timed(run, [LloydStep(image, n_clusters) for image in on_device()], floor=None, rounds=FEW)


def _plain_torch(step: LloydStep) -> None:
    sums = torch.zeros_like(step.centers[0])
    counts = torch.zeros(len(sums), device=sums.device)
    for part in step.points[0].split(1 << 20):
        labels = torch.cdist(part, step.centers[0]).argmin(dim=1)
        sums.index_add_(0, labels, part)
        counts.index_add_(0, labels, torch.ones_like(part[:, 0]))


def _flash_kmeans(step: LloydStep) -> object:
    from flash_kmeans import batch_kmeans_Euclid

    return batch_kmeans_Euclid(step.points, step.centers.shape[1], max_iters=1, init_centroids=step.centers)


def _cuml(step: LloydStep) -> object:
    import cupy
    from cuml.cluster import KMeans

    centers = cupy.asarray(step.centers[0])
    return KMeans(len(centers), max_iter=1, n_init=1, init=centers).fit(cupy.asarray(step.points[0]))


PEERS: dict[str, tuple[str, Callable[[LloydStep], object]]] = {
    "gpuquant": ("gpuquant", LloydStep.run),
    "plain torch": ("torch", _plain_torch),
    "flash-kmeans": ("flash_kmeans", _flash_kmeans),
    "cuML": ("cuml", _cuml),
}


def time_scikit_learn() -> Iterator[Row]:
    """The article's call, whose result is compared, too; scikit-learn runs once."""
    samples = np.divide(photo().numpy(), 255).reshape(-1, 3)
    ours = gpuquant.KMeans(**SETTINGS, device=DEVICE)
    there = torch.from_numpy(samples).to(DEVICE)
    cases: dict[str, Callable[[], Row]] = {
        "KMeans, K = 8, 5 iterations, an array": partial(timed, ours.fit, [samples], floor=None, rounds=FEW),
        "KMeans, K = 8, 5 iterations, a tensor": partial(timed, ours.fit, [there], floor=None, rounds=FEW),
    }
    yield from each_apart(cases)
    yield from each_apart({"scikit-learn's KMeans, the same": partial(_scikit_learn, samples)})


def _scikit_learn(samples: np.ndarray) -> Row:
    start = time.perf_counter()
    theirs = Reference(**SETTINGS).fit(samples)
    seconds = time.perf_counter() - start
    ours = gpuquant.KMeans(**SETTINGS, device=DEVICE).fit(samples)
    n_apart = int((np.asarray(torch.as_tensor(ours.labels_).cpu()) != theirs.labels_).sum())
    row: Row = {"median_ms": 1e3 * seconds, "rounds": 1, "other_labels": n_apart, "rehearsal": REHEARSAL}
    row["inertia_over_theirs"] = ours.inertia_ / theirs.inertia_
    return row if abs(row["inertia_over_theirs"] - 1) < 1e-6 else row | {"error": "another inertia"}

"""k-means itself beside other implementations, all from the same start, and many problems at once.

The points are all pixels of a photograph, float64 for what is like scikit-learn and float32 for the others, and the
labels are compared with those of scikit-learn's KMeans. OpenCV is not here: it starts from labels only.

Run: scripts/setup.sh bench, then pytest benchmarks/bench_kmeans.py [--sizes 1MP,13MP]
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Keep, Pixels, sized_photo

from gpuquant.benchmark import Measurement, measure_apart, stored
from gpuquant.benchmark_peers import Quantized, Quantizer, points_of, torch_lloyd

MAX_ITER = 10
SCIKIT_LEARN = "scikit-learn KMeans"
LARGEST = 13.7e6  # pixels, up to which so many implementations take minutes
N_CLUSTERS_EACH = 8


def start_of(photo: Pixels, n_clusters: int) -> Pixels:  # [K, 3]
    """Distinct pixels, always the same."""
    random = np.random.RandomState(0)
    drawn = photo.reshape(-1, 3)[random.randint(0, photo.size // 3, 8 * n_clusters)]
    return drawn[np.sort(np.unique(drawn, axis=0, return_index=True)[1])[:n_clusters]]


def estimator(package: str, photo: Pixels, n_clusters: int, **settings: Any) -> Quantized:
    """KMeans of scikit-learn, or of a package that has one like it."""
    if package == "sklearn":
        from sklearn.cluster import KMeans
    elif package == "sklearnex":
        from sklearnex.cluster import KMeans
    else:
        from gpuquant import KMeans
    start = start_of(photo, n_clusters).astype(np.float64)
    points = photo.reshape(-1, 3).astype(np.float64)
    model = KMeans(len(start), init=start, n_init=1, max_iter=MAX_ITER, tol=0, **settings).fit(points)
    return Quantized(model.cluster_centers_, model.labels_, model.n_iter_)


def gpuquant_kmeans(device: str, photo: Pixels, n_clusters: int) -> Quantized:
    """Without looking for pixels among the points."""
    import torch

    from gpuquant import kmeans

    points = torch.from_numpy(points_of(photo)).to(device)
    start = torch.from_numpy(start_of(photo, n_clusters)).to(device).float()
    found = kmeans(points, len(start), init=start, max_iter=MAX_ITER, tol=0)
    return Quantized(found.centers.cpu().numpy(), found.labels.cpu().numpy(), int(found.n_iter))


def plain_torch(device: str, photo: Pixels, n_clusters: int) -> Quantized:
    import torch

    start = torch.from_numpy(start_of(photo, n_clusters)).to(device).float()
    return torch_lloyd(torch.from_numpy(points_of(photo)).to(device), start, MAX_ITER)


def flash_kmeans(photo: Pixels, n_clusters: int) -> Quantized:
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    start = torch.from_numpy(start_of(photo, n_clusters)).to("cuda").float()[None]
    points = torch.from_numpy(points_of(photo)).to("cuda")[None]
    labels, centers, *_ = batch_kmeans_Euclid(points, start.shape[1], max_iters=MAX_ITER, init_centroids=start)
    return Quantized(centers[0].cpu().numpy(), labels[0].cpu().numpy(), MAX_ITER)


def faiss_kmeans(photo: Pixels, n_clusters: int) -> Quantized:
    import faiss

    points, start = points_of(photo), start_of(photo, n_clusters).astype(np.float32)
    fit: Any = faiss.Kmeans(3, len(start), niter=MAX_ITER, max_points_per_centroid=len(points))
    fit.train(points, init_centroids=start)
    return Quantized(fit.centroids, fit.index.search(points, 1)[1][:, 0], len(fit.obj))


def implementations(device: str) -> list[Quantizer]:
    where = "" if device == "cpu" else f", {device}"
    on_cuda = [Quantizer(f"flash-kmeans{where}", "flash-kmeans", flash_kmeans)] if where else []
    return [
        Quantizer(SCIKIT_LEARN, "scikit-learn", partial(estimator, "sklearn")),
        Quantizer(f"gpuquant.KMeans{where}", "gpuquant", partial(estimator, "gpuquant", device=device)),
        Quantizer(f"gpuquant.kmeans{where}", "gpuquant", partial(gpuquant_kmeans, device)),
        Quantizer("scikit-learn-intelex KMeans", "scikit-learn-intelex", partial(estimator, "sklearnex")),
        Quantizer("faiss Kmeans", "faiss-cpu", faiss_kmeans),
        Quantizer(f"plain torch{where}", "torch", partial(plain_torch, device)),
        *on_cuda,
    ]


@pytest.mark.parametrize("n_clusters", [8, 64])
def test_from_the_same_start(keep: Keep, tmp_path: Path, device: str, size: str, n_clusters: int, full: bool) -> None:
    photo = sized_photo(size)
    if photo.size > 3 * LARGEST and not full:
        pytest.skip("more than 13.7 megapixels: --full")
    found: list[Measurement] = []
    expected: Pixels | None = None
    with stored(photo) as file:
        for implementation in implementations(device):
            labels = tmp_path / "labels.npy"
            measured = measure_apart(
                implementation, file, n_clusters, rounds=5, most_seconds=10, limit=600, labels_file=labels
            )
            if measured.seconds:
                given = np.load(labels)
                expected = given if implementation.name == SCIKIT_LEARN else expected
                if expected is not None:
                    measured = dataclasses.replace(measured, agreement=float((given == expected).mean()))
            found.append(measured)
    keep(found, device, kind="same start", photo=size, n_colors=n_clusters)
    theirs, *ours = found[:3]
    assert all(one.seconds for one in ours), [one.problem for one in ours]
    if theirs.seconds:
        assert all(one.mse <= 1.001 * theirs.mse for one in ours)
        assert ours[0].agreement == 1


def together(device: str, n_tiles: int, photo: Pixels, _: int) -> Quantized:
    import torch

    from gpuquant import kmeans

    points = torch.from_numpy(photo.reshape(n_tiles, -1, 3)).to(device).float()
    found = kmeans(points, N_CLUSTERS_EACH)
    labels = found.labels + N_CLUSTERS_EACH * torch.arange(n_tiles, device=device)[:, None]
    return Quantized(found.centers.flatten(0, 1).cpu().numpy(), labels.cpu().numpy(), int(found.n_iter.max()))


def in_turn(package: str, device: str, n_tiles: int, photo: Pixels, _: int) -> Quantized:
    import torch
    from sklearn.cluster import KMeans

    from gpuquant import kmeans

    centers, labels, n_iter = [], [], 0
    for number, tile in enumerate(photo.reshape(n_tiles, -1, 3)):
        if package == "gpuquant":
            found = kmeans(torch.from_numpy(tile).to(device).float(), N_CLUSTERS_EACH)
            given = Quantized(found.centers.cpu().numpy(), found.labels.cpu().numpy(), int(found.n_iter))
        else:
            fit = KMeans(N_CLUSTERS_EACH, n_init=1, random_state=0).fit(tile.astype(np.float32))
            given = Quantized(fit.cluster_centers_, fit.labels_, fit.n_iter_)
        centers.append(given.palette)
        labels.append(given.labels + N_CLUSTERS_EACH * number)
        n_iter = max(n_iter, given.n_iter or 0)
    return Quantized(np.concatenate(centers), np.concatenate(labels), n_iter)


@pytest.mark.parametrize("n_tiles", [1, 4, 16, 64, 256])
def test_many_problems(keep: Keep, device: str, n_tiles: int) -> None:
    """A photo cut into so many problems of as many pixels, 8 clusters each: what does company save?"""
    photo = sized_photo("1MP")
    photo = photo[: len(photo) // 256 * 256]
    where = "" if device == "cpu" else f", {device}"
    ways = [
        Quantizer(f"gpuquant.kmeans, one batch{where}", "gpuquant", partial(together, device, n_tiles)),
        Quantizer(f"gpuquant.kmeans, in turn{where}", "gpuquant", partial(in_turn, "gpuquant", device, n_tiles)),
        Quantizer("scikit-learn, in turn", "scikit-learn", partial(in_turn, "sklearn", device, n_tiles)),
    ]
    with stored(photo) as file:
        found = [measure_apart(way, file, N_CLUSTERS_EACH * n_tiles, rounds=5, most_seconds=10) for way in ways]
    keep(found, device, kind="many problems", photo="1MP", n_colors=N_CLUSTERS_EACH, n_problems=n_tiles)
    assert [one.problem for one in found] == [""] * 3
    assert found[0].mse == found[1].mse
    assert found[0].mse <= found[2].mse * 1.1  # other starts

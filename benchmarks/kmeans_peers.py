"""Peers of bench_kmeans.py. Nothing is imported before it is asked, as in gpuquant/bench/peers.py."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpuquant.bench.peers import Quantizer, points_of, torch_lloyd
from gpuquant.bench.quantized import Pixels, Quantized

MAX_ITER = 10
SCIKIT_LEARN = "scikit-learn KMeans"
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


def flash_kmeans(device: str, photo: Pixels, n_clusters: int) -> Quantized:
    import torch
    from flash_kmeans import batch_kmeans_Euclid

    start = torch.from_numpy(start_of(photo, n_clusters)).to(device).float()[None]
    points = torch.from_numpy(points_of(photo)).to(device)[None]
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
    on_cuda = [Quantizer(f"flash-kmeans{where}", "flash-kmeans", partial(flash_kmeans, device))] if where else []
    return [
        Quantizer(SCIKIT_LEARN, "scikit-learn", partial(estimator, "sklearn")),
        Quantizer(f"gpuquant.KMeans{where}", "gpuquant", partial(estimator, "gpuquant", device=device)),
        Quantizer(f"gpuquant.kmeans{where}", "gpuquant", partial(gpuquant_kmeans, device)),
        Quantizer("scikit-learn-intelex KMeans", "scikit-learn-intelex", partial(estimator, "sklearnex")),
        Quantizer("faiss Kmeans", "faiss-cpu", faiss_kmeans),
        Quantizer(f"plain torch{where}", "torch", partial(plain_torch, device)),
        *on_cuda,
    ]


def together(device: str, n_tiles: int, photo: Pixels, _: int) -> Quantized:
    import torch

    from gpuquant import kmeans

    points = torch.from_numpy(photo.reshape(n_tiles, -1, 3)).to(device).float()
    found = kmeans(points, N_CLUSTERS_EACH)
    labels = found.labels + N_CLUSTERS_EACH * torch.arange(n_tiles, device=device)[:, None]
    return Quantized(found.centers.flatten(0, 1).cpu().numpy(), labels.cpu().numpy(), int(found.n_iter.max()))


def one_by_gpuquant(device: str, tile: Pixels) -> Quantized:  # [N, 3]
    import torch

    from gpuquant import kmeans

    found = kmeans(torch.from_numpy(tile).to(device).float(), N_CLUSTERS_EACH)
    return Quantized(found.centers.cpu().numpy(), found.labels.cpu().numpy(), int(found.n_iter))


def one_by_scikit_learn(tile: Pixels) -> Quantized:  # [N, 3]
    from sklearn.cluster import KMeans

    fit = KMeans(N_CLUSTERS_EACH, n_init=1, random_state=0).fit(tile.astype(np.float32))
    return Quantized(fit.cluster_centers_, fit.labels_, fit.n_iter_)


def in_turn(alone: Callable[[Pixels], Quantized], n_tiles: int, photo: Pixels, _: int) -> Quantized:
    centers, labels, n_iter = [], [], 0
    for number, tile in enumerate(photo.reshape(n_tiles, -1, 3)):
        given = alone(tile)
        centers.append(given.palette)
        labels.append(given.labels + N_CLUSTERS_EACH * number)
        n_iter = max(n_iter, given.n_iter or 0)
    return Quantized(np.concatenate(centers), np.concatenate(labels), n_iter)

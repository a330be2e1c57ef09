"""Record what scikit-learn's KMeans computes, in tests/reference, in ten seconds.

Every file holds samples, weights, settings, and scikit-learn's labels, iterations, centers and inertia, with the
versions that computed them. The photographs are crops of the two that scikit-learn ships: "china.jpg" by danielbuechele
and "flower.jpg" by dany13, both CC BY 2.0.

Example: .venv/bin/python scripts/make_references.py
"""

import json
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports that take long, or may fail
    from parts.arguments import Arguments

    Arguments(__doc__).parse_args()

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

FOLDER = Path(__file__).parents[1] / "tests" / "reference"
Samples = npt.NDArray[Any]


def blobs(n_samples: int, n_columns: int, seed: int) -> Samples:
    random = np.random.RandomState(seed)
    middles = random.normal(0, 4, (7, n_columns))
    samples: Samples = middles[random.randint(0, 7, n_samples)] + random.normal(0, 1, (n_samples, n_columns))
    return samples


def record(
    name: str, samples: Samples, weights: Samples | None = None, init: Any = "k-means++", **settings: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pixels are stored as levels and clustered as np.divide(levels, 255)
        given = np.divide(samples, 255) if samples.dtype == np.uint8 else samples
        model = KMeans(init=init, **settings).fit(given, sample_weight=weights)
    by_name = isinstance(init, str)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        samples=samples,
        weights=np.zeros(0) if weights is None else weights,
        init=np.zeros(0) if by_name else init,
        settings=json.dumps(settings | ({"init": init} if by_name else {})),
        labels=model.labels_,
        n_iter=model.n_iter_,
        centers=model.cluster_centers_,
        inertia=model.inertia_,
        versions=f"scikit-learn {sklearn.__version__}, numpy {np.__version__}",
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    china = load_sample_image("china.jpg")[150:190, 200:260].reshape(-1, 3)
    flower = load_sample_image("flower.jpg")[100:140, 200:260].reshape(-1, 3)
    random = np.random.RandomState(0)
    for n_clusters in (2, 8, 64):
        for init in ("k-means++", "random"):
            settings: dict[str, Any] = {"n_clusters": n_clusters, "n_init": 1, "random_state": n_clusters}
            kind = "plus-plus" if init == "k-means++" else "random"
            record(f"china-{n_clusters}-{kind}", china, init=init, **settings)
            record(f"flower-{n_clusters}-{kind}", flower, init=init, **settings)
            record(f"blobs-{n_clusters}-{kind}", blobs(600, 4, n_clusters), init=init, **settings)
    weights = random.uniform(0, 3, len(china)) * (np.arange(len(china)) % 5 > 0)
    record("china-weights", china, weights, n_clusters=12, n_init=1, random_state=3)
    record("blobs-weights", blobs(500, 2, 1), random.uniform(0, 2, 500), n_clusters=9, n_init=1, random_state=4)
    record("blobs-starts", blobs(400, 3, 2), n_clusters=10, n_init=6, random_state=5)
    record("china-stopped", china, n_clusters=20, n_init=1, max_iter=4, random_state=6)
    far = blobs(300, 3, 3)[:8].copy()
    far[5:] = 60 + np.arange(3)[:, None]
    record("blobs-emptied", blobs(300, 3, 3), init=far, n_clusters=8, n_init=1)
    near = np.divide(flower[:6], 255)
    near[4:] = [[9.0, 9.0, 9.0], [10.0, 9.0, 9.0]]
    record("flower-emptied", flower, init=near, n_clusters=6, n_init=1)
    print(f"wrote the files in {FOLDER}")


if __name__ == "__main__":
    main()

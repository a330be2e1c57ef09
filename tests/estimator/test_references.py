"""The estimator against stored results of scikit-learn, made by scripts/make_references.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from gpuquant import KMeans
from gpuquant.estimator import level_pixels

PATHS = sorted((Path(__file__).parents[1] / "reference").glob("*.npz"))


def test_there_are_references() -> None:
    assert len(PATHS) >= 20
    assert sum(path.stat().st_size for path in PATHS) < 1_000_000


@pytest.mark.parametrize(
    ("path", "folded"),
    [(path, folded) for path in PATHS for folded in (False, True) if not (folded and path.stem.startswith("blobs"))],
)
def test_labels_and_iterations_are_the_recorded_ones(path: Path, folded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(path) as stored:
        recorded = dict(stored)
    samples = recorded["samples"]
    if folded:
        monkeypatch.setattr(level_pixels, "FEW_SAMPLES", 0)
    if samples.dtype == np.uint8:
        samples = np.divide(samples, 255)
    settings = json.loads(str(recorded["settings"]))
    if recorded["init"].size:
        settings["init"] = recorded["init"]
    weights = recorded["weights"] if recorded["weights"].size else None
    model = KMeans(**settings).fit(samples, sample_weight=weights)
    np.testing.assert_array_equal(model.labels_, recorded["labels"])
    assert model.n_iter_ == recorded["n_iter"]
    np.testing.assert_allclose(model.cluster_centers_, recorded["centers"], rtol=1e-9, atol=1e-12)
    assert model.inertia_ == pytest.approx(float(recorded["inertia"]), rel=1e-9)

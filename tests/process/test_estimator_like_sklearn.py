"""The estimator under scikit-learn's own tests and checks."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

import gpuquant

SCRIPT = Path(__file__).parents[2] / "scripts" / "sklearn_tests.py"

# scikit-learn's own KMeans fails these two: draws by weight are not draws from repeated samples
FAILING = {
    "check_sample_weight_equivalence_on_dense_data": "the draws are those of scikit-learn, which fails it, too",
    "check_sample_weight_equivalence_on_sparse_data": "the draws are those of scikit-learn, which fails it, too",
}


def test_scikit_learns_own_test_file_passes() -> None:
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert int(summary.split(" passed")[0].split()[-1]) > 150, summary
    assert "skipped" not in summary


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [gpuquant.KMeans(n_clusters=3)], expected_failed_checks=lambda _: FAILING
)
def test_scikit_learns_checks_pass(estimator: BaseEstimator, check: Any) -> None:
    check(estimator)

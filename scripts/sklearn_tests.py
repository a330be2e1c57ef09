"""Run scikit-learn's own tests of KMeans on gpuquant.KMeans. Usage: python scripts/sklearn_tests.py [PYTEST OPTION...]

The class is put in the place of scikit-learn's before its test file is imported. The tests of MiniBatchKMeans are left
out; the few that call other functions of scikit-learn run as they are.
"""

import os
import sys

import pytest

os.environ["SKLEARN_RUN_FLOAT32_TESTS"] = "1"


def main() -> int:
    import sklearn.cluster

    import gpuquant

    sklearn.cluster.KMeans = gpuquant.KMeans
    options = ["--pyargs", "sklearn.cluster.tests.test_k_means", "-c", os.devnull, "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*options, "-k", "not MiniBatch and not minibatch", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())

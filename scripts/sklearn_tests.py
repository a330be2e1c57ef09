"""Run scikit-learn's own tests of KMeans on gpuquant.KMeans, in half a minute. Nothing is written.

The class is put in the place of scikit-learn's before its test file is imported. The tests of MiniBatchKMeans are left
out; the few that call other functions of scikit-learn run as they are. It needs pytest, which scripts/setup.sh dev
installs; options of pytest follow --.

Example: .venv/bin/python scripts/sklearn_tests.py -- -k predict
"""

import os
import sys

os.environ["SKLEARN_RUN_FLOAT32_TESTS"] = "1"


def main() -> int:
    from parts.arguments import Arguments, needing

    parser = Arguments(__doc__)
    parser.add_argument("options", metavar="PYTEST_OPTION", nargs="*", help="given to pytest")
    given = parser.parse_args()
    with needing("dev"):
        import pytest
    import sklearn.cluster

    import gpuquant

    sklearn.cluster.KMeans = gpuquant.KMeans
    options = ["--pyargs", "sklearn.cluster.tests.test_k_means", "-c", os.devnull, "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*options, "-k", "not MiniBatch and not minibatch", *given.options]))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# usage: scripts/test_slow.sh [TEST FILE...] [-- PYTEST OPTION...]
#
# Install gpuquant with the extra dev into .venv (as setup.sh does) and run the checks that are too slow for test.sh: the
# kernels, compiled for another chip, and plain torch in place of compiled loops. Takes minutes. Writes nothing else but caches of these tools.
#
# Example: scripts/test_slow.sh -- -x
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev
[ $# -gt 0 ] || WITHOUT_NUMBA=1 .venv/bin/pytest tests/ops tests/counting tests/fitting tests/quantization
exec .venv/bin/pytest -m slow "$@"

#!/usr/bin/env bash
# usage: scripts/test_slow.sh [--oldest] [TEST FILE...] [-- PYTEST OPTION...]
#
# Install gpuquant with the extras dev and ray into .venv (as setup.sh does) and run the checks that are too slow for
# test.sh: if no file is named, tests with plain torch in place of compiled loops; the kernels, compiled for other chips,
# the whole rehearsal of the GPU report, and batches on Ray; with --oldest, which comes first, also test_oldest.sh, which
# fetches another torch of up to several gigabytes. Takes half an hour on two cores, and with --oldest another quarter.
# Writes nothing else but caches of these tools.
#
# Example: scripts/test_slow.sh -- -x
set -euo pipefail
oldest=no
if [ "${1:-}" = --oldest ]; then
    oldest=yes
    shift
fi
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev
scripts/setup.sh ray
if [ $# -eq 0 ]; then
    WITHOUT_NUMBA=1 .venv/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile tests/ops tests/counting \
        tests/clustering tests/dithering tests/estimator tests/fitting tests/quantization tests/test_properties.py
fi
.venv/bin/pytest -m slow "$@"
[ "$oldest" = no ] || scripts/test_oldest.sh -- "$@"

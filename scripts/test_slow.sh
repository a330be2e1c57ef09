#!/usr/bin/env bash
# usage: scripts/test_slow.sh [TEST FILE...] [-- PYTEST OPTION...]
#
# Install gpuquant with the extra dev into .venv (as setup.sh does) and run the checks that are too slow for test.sh: the
# kernels, compiled for another chip. Takes minutes. Writes nothing else but caches of these tools.
#
# Example: scripts/test_slow.sh -- -x
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev
exec .venv/bin/pytest -m slow "$@"

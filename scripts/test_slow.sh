#!/usr/bin/env bash
# Run the checks that are too slow for scripts/test.sh: the kernels for another chip. Usage: scripts/test_slow.sh [PYTEST OPTION...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev
exec .venv/bin/pytest -m slow "$@"

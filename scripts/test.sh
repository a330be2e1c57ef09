#!/usr/bin/env bash
# usage: scripts/test.sh [TEST FILE...] [-- PYTEST OPTION...]
#
# Install gpuquant with the extra dev into .venv (as setup.sh does) and run every check: format, lint, types, tests.
# Takes eight minutes on two cores. Writes nothing else but caches of these tools.
#
# Example: scripts/test.sh tests/cli/test_quantize_command.py -- -k quantize -x
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev

check() {
    printf '== %s\n' "$1"
    shift
    "$@" || { printf 'test: failed: %s\n' "$*" >&2; exit 1; }
}

check "format" .venv/bin/ruff format --check .
check "lint" .venv/bin/ruff check .
said=$(mktemp)
{ .venv/bin/mypy && .venv/bin/mypy benchmarks; } >"$said" 2>&1 & # takes one core for a while, beside what follows
types=$!
trap 'kill "$types" 2>/dev/null || true; rm -f "$said"' EXIT
# only those, as their twins in plain torch, and what is kept of loops, are tested below
check "compiled loops, with their indices checked" env NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.numba-checked \
    .venv/bin/pytest --quiet --numprocesses auto --maxprocesses 4 --dist loadfile --ignore-glob='*/test_cuda*.py' \
    --ignore=tests/ops/test_kept_loops.py --ignore=tests/ops/test_compiled.py --ignore=tests/ops/test_kernel_choice.py \
    -k "not plain and not torch and not reference" tests/ops
types_are_right() {
    wait "$types" || { cat "$said"; return 1; }
}
check "types" types_are_right
check "tests, import rules among them" .venv/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"

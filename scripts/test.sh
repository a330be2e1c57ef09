#!/usr/bin/env bash
# Install gpuquant with its development extra into .venv and run every check. Usage: scripts/test.sh [PYTEST OPTION...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh dev

check() {
    printf '== %s\n' "$1"
    shift
    "$@" || { printf 'test: failed: %s\n' "$*" >&2; exit 1; }
}

check "format" .venv/bin/ruff format --check .
check "lint" .venv/bin/ruff check .
check "types" .venv/bin/mypy
check "types of the benchmarks" .venv/bin/mypy benchmarks
check "tests, import rules among them" .venv/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile "$@"

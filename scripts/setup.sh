#!/usr/bin/env bash
# usage: scripts/setup.sh [EXTRA]
#
# Make .venv where it is missing and install gpuquant there, editable, with the tested versions; with EXTRA also what the
# checks need (dev), what reads HEIC (heic), what gpuquant is compared with (bench), or that on CUDA devices (bench-cuda).
# Takes minutes the first time, as torch is large, and no time while nothing has changed. PYTHON=/path/to/python chooses
# the Python.
#
# Example: scripts/setup.sh dev
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

[ $# -le 1 ] || refuse "one extra at a time"
if [ $# -eq 1 ]; then
    extras=$(sed -n '/^\[project.optional-dependencies\]/,/^$/s/^\([a-z-]*\) = .*/\1/p' pyproject.toml)
    grep -qxF -e "$1" <<<"$extras" || refuse "there is no extra '$1', but ${extras//$'\n'/, }"
fi
python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "no '$python' found; install Python 3.11 or newer, or set PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "$("$python" --version) is too old; install Python 3.11 or newer, or set PYTHON=/path/to/python"
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear .venv || fail "could not make .venv (on Debian: apt-get install python3-venv)"
fi

# Installing is skipped while nothing it depends on has changed.
extra=${1:+[$1]}
stamp=".venv/installed${1:+-$1}"
wanted=$(cat pyproject.toml constraints.txt | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    printf 'setup: installing gpuquant%s into .venv (torch is large; this can take minutes)\n' "$extra" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".$extra" \
        || fail "installing failed; the lines above say why"
    # torch for CUDA brings the Triton it needs; torch for the CPU brings none, and the tests of the kernels need one
    if [ "${1:-}" = dev ] && [ "$(uname -s)" = Linux ] && ! .venv/bin/python -c 'import triton' 2>/dev/null; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check triton==3.6.0 \
            || fail "installing Triton failed; the lines above say why"
    fi
    # the loops are compiled now, so that the first call does not have to wait for them
    .venv/bin/python -c 'import numpy, gpuquant; gpuquant.quantize(numpy.random.randint(0, 256, (99, 99, 3), "uint8"), 9)' \
        >/dev/null 2>&1 || true
    printf '%s' "$wanted" >"$stamp"
fi

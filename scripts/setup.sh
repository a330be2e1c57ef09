#!/usr/bin/env bash
# usage: scripts/setup.sh [EXTRA]
#
# Make .venv where it is missing and install gpuquant there, editable, with the tested versions; with EXTRA also what the
# checks need (dev), what reads HEIC (heic), photos larger than memory (large) or at URLs (remote), what works on many
# machines (ray), what gpuquant is compared with (bench), or that on CUDA devices (bench-cuda). Takes minutes the first
# time, as torch is large and loops are compiled, and no time while nothing has changed.
# PYTHON=/path/to/python chooses the Python.
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

usual_calls='
import gpuquant, numpy
pixels = numpy.random.RandomState(0).randint(0, 256, (64, 64, 4), "uint8").repeat(5, axis=0).repeat(5, axis=1)
gpuquant.quantize(pixels[..., :3], 16, effort="best", dither="blue-noise", device="cpu")
gpuquant.quantize(pixels[..., :3], 300, device="cpu")
gpuquant.quantize(pixels, 16, device="cpu")
'

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
    # the loops of usual calls are compiled now, so that the first ones do not have to wait for them
    if ! trouble=$(.venv/bin/python -c "$usual_calls" 2>&1); then
        printf 'setup: compiling loops failed, so the first call will try again: %s\n' "$(tail -n 1 <<<"$trouble")" >&2
    fi
    printf '%s' "$wanted" >"$stamp"
fi

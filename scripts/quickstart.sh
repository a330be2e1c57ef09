#!/usr/bin/env bash
# Install gpuquant into .venv and quantize one photo. Usage: scripts/quickstart.sh [PHOTO]
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

photo=${1:-}
if [ -n "$photo" ]; then
    case $photo in /*) ;; *) photo=$caller/$photo ;; esac
    [ -f "$photo" ] || { printf 'quickstart: %s: no such file\n' "$photo" >&2; exit 1; }
fi
scripts/setup.sh
if [ -z "$photo" ]; then
    photo=$(.venv/bin/python -c 'import pathlib, sklearn; print(pathlib.Path(sklearn.__file__).parent / "datasets/images/china.jpg")')
fi
mkdir -p quickstart
.venv/bin/gpuquant quantize "$photo" "$PWD/quickstart/quantized.png" --colors 8 --force \
    --side-by-side "$PWD/quickstart/side-by-side.png" --palette "$PWD/quickstart/palette.hex"

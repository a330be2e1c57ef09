#!/usr/bin/env bash
# usage: scripts/quickstart.sh [PHOTO]
#
# Install gpuquant into .venv (minutes, where it is new) and quantize a photo to 8 colors (seconds): PHOTO, or
# scikit-learn's china.jpg. Writes quantized.png, side-by-side.png and palette.hex into the folder quickstart of the
# repository, over those of before.
#
# Example: scripts/quickstart.sh ~/holiday.jpg
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -le 1 ] || refuse "one photo at a time"
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

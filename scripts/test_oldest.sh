#!/usr/bin/env bash
# usage: scripts/test_oldest.sh [TEST FILE...] [-- PYTEST OPTION...]
#
# Install gpuquant into .venv-oldest, with Python 3.11 and the lowest versions that pyproject.toml allows, and run the
# tests there. Fetches another torch, which is large: several gigabytes where pip finds that for CUDA, unless a build of
# that version is there. Takes minutes to install and then ten on two cores. PYTHON=/path/to/python3.11 chooses the
# Python.
#
# Example: scripts/test_oldest.sh tests/cli/test_quantize_command.py -- -x
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/parts/options.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf 'test_oldest: %s\n' "$1" >&2
    exit 1
}

# The oldest Python, too: SciPy 1.11.1 has no wheel for a newer one.
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || fail "no '$python' found; install Python 3.11, or set PYTHON=/path/to/python"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
    || fail "$("$python" --version) is not Python 3.11; set PYTHON=/path/to/python"
if ! .venv-oldest/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear .venv-oldest || fail "could not make .venv-oldest (on Debian: apt-get install python3-venv)"
fi

# A build of that torch for the CPU stays if it is there. What runs the tests is new: it is not what is tested.
tools=$(grep -E '^(execnet|hypothesis|pytest|pytest-xdist|swatch)==' constraints.txt) || fail "constraints.txt names no test tools"
printf 'test_oldest: installing into .venv-oldest (torch is large; this can take minutes)\n' >&2
# shellcheck disable=SC2086 # several words
.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt --editable . $tools \
    pillow-heif==0.22.0 pyvips==3.0.0 pyvips-binary==8.17.0 fsspec==2025.3.0 s3fs==2025.3.0 \
    || fail "installing failed; the lines above say why"
if [ "$(uname -s)" = Linux ] && ! .venv-oldest/bin/python -c 'import triton' 2>/dev/null; then
    .venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check triton==3.3.0 \
        || fail "installing Triton failed; the lines above say why"
fi
.venv-oldest/bin/python --version
.venv-oldest/bin/python -m pip freeze --exclude-editable

# Left out is what was recorded or measured with the tested versions, whose BLAS, exp and zlib give other last digits
# and sizes, an old Pillow that takes the head of a GIMP palette for colors and whose OpenJPEG refuses files with another
# color box, a device that is played (torch 2.7 ends there with a fault), how many threads OpenMP keeps, and a test
# whose warnings are to be errors in other threads, too.
left_out=(
    tests/dithering/test_masks.py::test_blue_noise_is_what_the_script_makes_and_has_no_low_frequencies
    tests/estimator/test_references.py::test_labels_and_iterations_are_the_recorded_ones
    tests/images/test_color_formats.py::test_color_spaces_of_jpeg_2000
    tests/images/test_color_formats.py::test_the_profile_of_a_jpeg_2000
    tests/images/test_guard.py::test_other_threads_keep_their_limit_and_their_warnings
    tests/images/test_writing.py::test_a_png_is_as_small_as_level_6_makes_it_or_nearly
    tests/palettes/test_text_formats.py::test_other_programs_read_what_is_written
    tests/process/test_played_device.py
    tests/test_torch_threads.py::test_helpers_use_one_thread_each
)
# Old libraries warn of each other and of a newer NumPy: here warnings are shown, and are no errors.
.venv-oldest/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -W default "${left_out[@]/#/--deselect=}" "$@" \
    || fail "failed: pytest -W default $*"

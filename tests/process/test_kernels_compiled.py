"""The kernels as Triton compiles them for two chips: nothing spilled, shared memory in its limit, exact arithmetic."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is made for Linux")
SCRIPT = Path(__file__).parents[1] / "compile_kernels.py"
ADDING = {  # to integers, atomically
    "count_colors_kernel", "choose_entries_kernel", "color_step_kernel", "sum_cells_kernel", "measure_cells_kernel"
}  # fmt: skip


@pytest.fixture(scope="module", params=[pytest.param(80, marks=pytest.mark.slow), 90])
def compiled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_is_compiled(compiled: list[dict[str, Any]]) -> None:
    from gpuquant.ops import cuda_probe as triton_probe
    from gpuquant.ops.dithering import cuda as triton_dithering
    from gpuquant.ops.lloyd import cuda as triton_lloyd
    from gpuquant.ops.lloyd import cuda_color_steps as triton_colors
    from gpuquant.ops.pixels import cuda as triton_ops
    from gpuquant.ops.points import cuda as triton_points
    from gpuquant.ops.seeding import cuda as triton_seeding
    from gpuquant.ops.seeding import cuda_pixels as triton_pixels

    counting = triton_dithering, triton_ops, triton_points, triton_probe
    modules = *counting, triton_lloyd, triton_colors, triton_seeding, triton_pixels
    kernels = {name for module in modules for name in vars(module) if name.endswith("_kernel")}
    assert {row["function"] for row in compiled} == kernels


def test_no_register_is_spilled_and_shared_memory_fits(compiled: list[dict[str, Any]]) -> None:
    for row in compiled:
        assert row["spill_lines"] == 2, row  # stores and loads: the compiler did say
        assert (row["spilled"] > 0) == (row["kernel"] == "control"), row
        assert row["shared"] <= row["most_shared"], row


def test_arithmetic_is_that_of_ieee_and_sums_are_repeatable(compiled: list[dict[str, Any]]) -> None:
    for row in compiled:
        assert not row["tf32"], row
        assert not row["float_atomics"], row
        counts = row["function"] in ADDING
        scatters = row["function"] == "lloyd_step_kernel" and row["scatters"]
        assert row["integer_atomics"] == (scatters or counts), row

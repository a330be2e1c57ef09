"""The kernels as Triton compiles them for four chips: nothing spilled, shared memory in its limit, exact arithmetic."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is made for Linux")
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "compile_kernels.py"
ADDING = {  # to integers, atomically
    "count_colors_kernel", "choose_entries_kernel", "color_step_kernel", "breathe_kernel", "sum_cells_kernel",
    "measure_cells_kernel", "choose_centers_kernel", "probe_kernel",
}  # fmt: skip


@pytest.fixture(scope="module", params=[*(pytest.param(chip, marks=pytest.mark.slow) for chip in (75, 80, 120)), 90])
def compiled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_is_compiled(compiled: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from gpu.kernels import every_kernel

    assert {row["function"] for row in compiled} == set(every_kernel())


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

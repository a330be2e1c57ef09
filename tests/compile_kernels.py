"""Compile every kernel without a device, and print what each takes as JSON.

Usage: python tests/compile_kernels.py [CHIP...] [--every] [--most N]

Kernels go through the same JIT that launches them, so that they are in Triton's cache (TRITON_CACHE_DIR) when a device
asks for them. Not in the interpreter.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.runtime import driver

from gpuquant.colors.codes import N_CODES
from gpuquant.ops import cuda_probe as triton_probe
from gpuquant.ops.lloyd import cuda as triton_lloyd
from gpuquant.ops.pixels import cuda as triton_ops
from gpuquant.ops.seeding import cuda as triton_seeding
from gpuquant.ops.seeding import cuda_draws as triton_draws

Variant = tuple[str, Any, dict[str, str], dict[str, Any]]

OPTIONS: dict[str, dict[str, Any]] = {  # as launched
    "move_centers_kernel": {"enable_fp_fusion": False},
    "try_candidates_kernel": triton_seeding.TRY_OPTIONS,
    "add_best_kernel": triton_seeding.ADD_OPTIONS,
}
CHIPS = {80: 166_912, 90: 232_448}  # bytes of shared memory that a program may take
TYPES: dict[str, Any] = {  # an argument of each type, as the JIT takes it: tensors by their dtype, any number
    "*u8": torch.uint8, "*i16": torch.int16, "*i32": torch.int32, "*i64": torch.int64,
    "*fp32": torch.float32, "*fp64": torch.float64, "i32": 7,
}  # fmt: skip


class PlayedDriver:
    """A driver that tells the JIT of a chip that is not there."""

    def __init__(self, chip: int) -> None:
        self._chip = chip

    def get_current_device(self) -> int:
        return self._chip

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._chip, 32)


def variants(*, every: bool = True) -> list[Variant]:
    """The name, kernel, types of the arguments and constants of everything that is launched.

    Not every one: of those that differ in how many candidates k-means++ tries, or in whether points of weight 0 count,
    only some.
    """
    found: list[Variant] = [("probe", triton_probe.probe_kernel, {"target": "*i32"}, {})]
    for grey in (False, True):
        constants: dict[str, Any] = {"GREY": grey, "BLOCK": triton_ops.BLOCK}
        pixels = {"pixels": "*u8", "table": "*i32", "n_pixels": "i32"}
        codes = constants | {"N_CODES": N_CODES}
        found.append((f"count, grey={grey}", triton_ops.count_colors_kernel, pixels, codes))
        for kind in ("u8", "i16", "i32"):
            types = {"pixels": "*u8", "table": f"*{kind}", "labels": f"*{kind}", "n_pixels": "i32"}
            found.append((f"lookup, {kind}, grey={grey}", triton_ops.apply_lookup_kernel, types, constants))
    colors = [("colors", "fp32", 3, 128)]
    points = [(f"{kind}, D={n_columns}", kind, n_columns, 1) for kind in ("fp32", "fp64") for n_columns in (1, 2, 3, 4)]
    for name, kind, n_columns, group in colors + points:
        types = {"points": f"*{kind}", "origin": "*fp64", "weights": "*fp64", "labels": "*i16" if group > 1 else "*i32"}
        sizes = {"D": n_columns, "GROUP": group}
        found += _lloyd(name, kind == "fp32" and group == 1, every, types, sizes)
        for lanes in (2, 4, 8, 16) if every or name == "colors" else (4, 16) if n_columns == 1 else (16,):
            found += _seeding(name, types, sizes | {"LANES": lanes})
    for scatter in (False, True):
        types = {"parts": "*i64" if scatter else "*fp64", "runs": "*i64", "status": "*i32", "totals": "*fp64"}
        types |= {"scales": "*fp64"} | dict.fromkeys(("n_sums", "n_parts", "n_runs"), "i32")
        constants = {"D": 3, "SUMS": triton_lloyd.SUMS, "PARTS": triton_lloyd.PARTS, "SCATTER": scatter}
        found.append((f"add, scatter={scatter}", triton_lloyd.add_parts_kernel, types, constants))
    return found


def _lloyd(name: str, single: bool, every: bool, points: dict[str, str], sizes: dict[str, Any]) -> list[Variant]:
    arrays = {"centers": "*fp64", "runs": "*i64", "status": "*i32", "n_changed": "*i32", "scales": "*fp64"}
    types = points | arrays | dict.fromkeys(("n_points", "n_clusters", "n_runs", "problem_stride"), "i32")
    block = {"BLOCK": triton_lloyd.POINTS}
    found: list[Variant] = []
    scatters = (False, True) if single or sizes["GROUP"] > 1 else (False,)
    weightless = (False, True) if every and sizes["GROUP"] == 1 else (sizes["D"] % 2 == 0,)
    for scatter, counted in product(scatters, weightless):
        step = sizes | block | {"SINGLE": single, "COUNT_WEIGHTLESS": counted, "SCATTER": scatter}
        sums = {"sums": "*i64" if scatter else "*fp64"}
        found.append((f"lloyd, {name}, {scatter=}", triton_lloyd.lloyd_step_kernel, types | sums, step))
    block = {"BLOCK": triton_lloyd.POINTS // 2}
    found.append((f"inertia, {name}", triton_lloyd.inertia_kernel, types | {"parts": "*fp64"}, sizes | block))
    arrays = {"totals": "*fp64", "n_changed": "*i32", "status": "*i32", "centers": "*fp64", "moves": "*fp64"}
    arrays |= {"n_iter": "*i32", "limits": "*fp64"} | dict.fromkeys(("n_clusters", "n_parts", "max_iter"), "i32")
    snap = "grid" if sizes["GROUP"] > 1 else "single" if single else "double"
    move = {"D": sizes["D"], "CLUSTERS": triton_lloyd.CLUSTERS, "PARTS": triton_lloyd.PARTS, "SNAP": snap}
    paces = {"RELAXATION": 1.5, "MOMENTUM": 0.6}, {"RELAXATION": 1.0, "MOMENTUM": 0.0}
    return found + [(f"move, {name}, {pace}", triton_lloyd.move_centers_kernel, arrays, move | pace) for pace in paces]


def _seeding(name: str, points: dict[str, str], sizes: dict[str, Any]) -> list[Variant]:
    arrays = {"closest": "*fp64", "candidates": "*i64", "potentials": "*fp64", "part_sums": "*fp64"}
    arrays |= {
        "chunk_sums": "*fp64",
        "uniforms": "*fp64",
        "item_weights": "*fp64",
        "chosen": "*i64",
        "reached": "*fp64",
    }
    numbers = ("n_points", "n_runs", "n_items", "n_draw_parts", "n_candidates", "uniform", "per_run", "step", "n_steps")
    types = points | arrays | dict.fromkeys(numbers, "i32")
    chunk = {"CHUNK": triton_draws.CHUNK}
    lanes = sizes | chunk
    found: list[Variant] = []
    for first, given, ranked in (
        (True, False, False),
        (False, False, False),
        (False, True, True),
        (False, False, True),
    ):
        kind = {
            "RIGHT": first,
            "GIVEN": given,
            "RANKED": ranked,
            "WEIGHTED": not ranked,
            "WIDTH": triton_seeding.width_for(sizes["LANES"]),
        }
        ranks = {"ranks": "*i32" if ranked else "*i64"}
        found.append(
            (f"try, {name}, {lanes}, {kind}", triton_seeding.try_candidates_kernel, types | ranks, lanes | kind)
        )
    best = lanes | {"PARTS": triton_seeding.PARTS}
    for summed in (False, True):
        constants = best | {"SUMMED": summed}
        found.append((f"add best, {name}, {lanes}, {summed}", triton_seeding.add_best_kernel, types, constants))
    for weighted in (False, True):
        constants = chunk | {"WEIGHTED": weighted}
        ranks = {"ranks": "*i32"}
        found.append((f"shares, {name}, {weighted}", triton_draws.sum_shares_kernel, types | ranks, constants))
    return found


def report(chip: int, every: bool, place: int) -> str:
    """Compile one of the variants; the last place is a kernel that must spill."""
    found = variants(every=every)
    if place < len(found):
        name, kernel, types, constants = found[place]
    else:
        _, kernel, types, constants = next(one for one in found if one[0] == "lloyd, fp64, D=4, scatter=False")
        name, constants = "control", constants | {"BLOCK": 8 * triton_lloyd.POINTS}
    driver.set_active(PlayedDriver(chip))
    given = [constants[key] if key in constants else TYPES[types[key]] for key in kernel.arg_names]
    compiled = kernel.warmup(*given, grid=(1,), **OPTIONS.get(kernel.__name__, {}))
    ptx = compiled.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        ptxas = get_ptxas(chip)
        tool = ptxas[0] if isinstance(ptxas, tuple) else ptxas.path  # Triton 3.3, or a newer one
        command = [tool, "-v", f"--gpu-name=sm_{chip}{'a' * (chip >= 90)}", str(path)]
        done = subprocess.run([*command, "-o", str(path) + ".o"], capture_output=True, text=True, check=True)
    spills = [int(number) for number in re.findall(r"(\d+) bytes spill", done.stderr)]
    row = {
        "chip": chip,
        "kernel": name,
        "function": kernel.__name__,
        "scatters": constants.get("SCATTER", False),
        "spilled": sum(spills),
        "spill_lines": len(spills),
        "shared": compiled.metadata.shared,
        "most_shared": CHIPS.get(chip),
        "tf32": "tf32" in ptx,
        "float_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(f16|bf16|f32|f64)", ptx)),
        "integer_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(u32|s32|b32|u64|s64|b64)", ptx)),
        "registers": int(re.findall(r"Used (\d+) registers", done.stderr)[0]),
    }
    return json.dumps(row)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile every kernel without a device.")
    parser.add_argument("chips", nargs="*", type=int, default=list(CHIPS), help="80 and 90 if none is given")
    parser.add_argument("--every", action="store_true", help="also those that hardly differ")
    parser.add_argument("--most", type=int, help="so many variants, in place of all and one that must spill")
    given = parser.parse_args()
    # the kernel that must spill shows that spills are seen; to fill a cache it is of no use
    places = range(len(variants(every=given.every)) + (not given.every))[: given.most]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for row in pool.map(report, *zip(*product(given.chips, [given.every], places), strict=True)):
            print(row, flush=True)


if __name__ == "__main__":
    main()

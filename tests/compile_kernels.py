"""Compile every kernel for two chips without having one, and print what each takes as JSON. Not in the interpreter."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from gpuquant.ops import triton_draws, triton_lloyd, triton_ops, triton_seeding
from gpuquant.ops.color_codes import N_CODES

Variant = tuple[str, Any, dict[str, str], dict[str, Any]]

CHIPS = {80: 166_912, 90: 232_448}  # bytes of shared memory that a program may take


def variants() -> list[Variant]:
    """The name, kernel, types of the arguments and constants of everything that is launched."""
    found: list[Variant] = []
    for grey in (False, True):
        constants: dict[str, Any] = {"GREY": grey, "BLOCK": triton_ops.BLOCK}
        pixels = {"pixels": "*u8", "table": "*i32", "n_pixels": "i64"}
        found.append((f"count, grey={grey}", triton_ops.count_colors_kernel, pixels, constants | {"N_CODES": N_CODES}))
        for kind in ("u8", "i16", "i32"):
            types = {"pixels": "*u8", "table": f"*{kind}", "labels": f"*{kind}", "n_pixels": "i64"}
            found.append((f"lookup, {kind}, grey={grey}", triton_ops.apply_lookup_kernel, types, constants))
    colors = [("colours", "fp32", 3, 128)]
    points = [(f"{kind}, D={n_columns}", kind, n_columns, 1) for kind in ("fp32", "fp64") for n_columns in (1, 2, 3, 4)]
    for name, kind, n_columns, group in colors + points:
        types = {"points": f"*{kind}", "origin": "*fp64", "weights": "*fp64", "labels": "*i16" if group > 1 else "*i32"}
        sizes = {"D": n_columns, "GROUP": group}
        found += _lloyd(name, kind == "fp32" and group == 1, types, sizes)
        if n_columns in (1, 3):
            found += _seeding(name, types, sizes)
    parts = {"parts": "*fp64", "runs": "*i64", "status": "*i32", "totals": "*fp64", "n_sums": "i32", "n_parts": "i32"}
    constants = {"SUMS": triton_lloyd.SUMS, "PARTS": triton_lloyd.PARTS}
    return [*found, ("add", triton_lloyd.add_parts_kernel, parts, constants)]


def _lloyd(name: str, single: bool, points: dict[str, str], sizes: dict[str, Any]) -> list[Variant]:
    arrays = {"centers": "*fp64", "runs": "*i64", "status": "*i32", "sums": "*fp64", "n_changed": "*i32"}
    types = points | arrays | dict.fromkeys(("n_points", "n_clusters", "n_runs", "problem_stride"), "i32")
    block = {"BLOCK": triton_lloyd.POINTS}
    step = sizes | block | {"SINGLE": single, "COUNT_WEIGHTLESS": False}
    arrays = {"totals": "*fp64", "n_changed": "*i32", "status": "*i32", "centers": "*fp64", "moves": "*fp64"}
    arrays |= {"n_iter": "*i32", "limits": "*fp64"} | dict.fromkeys(("n_clusters", "n_parts", "max_iter"), "i32")
    snap = "grid" if sizes["GROUP"] > 1 else "single" if single else "double"
    move = {"D": sizes["D"], "CLUSTERS": triton_lloyd.CLUSTERS, "PARTS": triton_lloyd.PARTS, "SNAP": snap}
    move |= {"RELAXATION": 1.5, "MOMENTUM": 0.6}
    return [
        (f"lloyd, {name}", triton_lloyd.lloyd_step_kernel, types, step),
        (
            f"inertia, {name}",
            triton_lloyd.inertia_kernel,
            types | {"parts": "*fp64"},
            sizes | {"BLOCK": triton_lloyd.POINTS // 2},
        ),
        (f"move, {name}", triton_lloyd.move_centers_kernel, arrays, move),
    ]


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
    types = points | arrays | {"ranks": "*i32"} | dict.fromkeys(numbers, "i32")
    chunk = {"CHUNK": triton_draws.CHUNK}
    lanes = sizes | chunk | {"LANES": 8}
    found: list[Variant] = []
    for first, given, ranked in (
        (True, False, False),
        (False, False, False),
        (False, True, True),
        (False, False, True),
    ):
        kind = {"RIGHT": first, "GIVEN": given, "RANKED": ranked, "WEIGHTED": not ranked, "WIDTH": triton_draws.WIDTH}
        found.append((f"try, {name}, {kind}", triton_seeding.try_candidates_kernel, types, lanes | kind))
    best = lanes | {"PARTS": triton_seeding.PARTS}
    for summed in (False, True):
        constants = best | {"SUMMED": summed}
        found.append((f"add best, {name}, {summed}", triton_seeding.add_best_kernel, types, constants))
    for weighted in (False, True):
        constants = chunk | {"WEIGHTED": weighted}
        found.append((f"shares, {name}, {weighted}", triton_draws.sum_shares_kernel, types, constants))
    return found


def main() -> None:
    for chip, most_shared in CHIPS.items():
        _, kernel, types, constants = next(variant for variant in variants() if variant[0] == "lloyd, fp64, D=4")
        too_large = "control", kernel, types, constants | {"BLOCK": 8 * triton_lloyd.POINTS}
        for name, kernel, types, constants in [*variants(), too_large]:
            signature = {key: types.get(key, "constexpr") for key in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
            compiled = triton.compile(source, target=GPUTarget("cuda", chip, 32))
            ptx = compiled.asm["ptx"]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "kernel.ptx"
                path.write_text(ptx)
                command = [get_ptxas(chip).path, "-v", f"--gpu-name=sm_{chip}{'a' * (chip == 90)}", str(path)]
                done = subprocess.run([*command, "-o", str(path) + ".o"], capture_output=True, text=True, check=True)
            spills = [int(number) for number in re.findall(r"(\d+) bytes spill", done.stderr)]
            row = {
                "chip": chip,
                "kernel": name,
                "function": kernel.__name__,
                "spilled": sum(spills),
                "spill_lines": len(spills),
                "shared": compiled.metadata.shared,
                "most_shared": most_shared,
                "tf32": "tf32" in ptx,
                "float_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(f16|bf16|f32|f64)", ptx)),
                "integer_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(u32|s32|b32)", ptx)),
                "registers": int(re.findall(r"Used (\d+) registers", done.stderr)[0]),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

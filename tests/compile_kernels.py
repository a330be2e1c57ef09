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
import triton.backends.nvidia
from played.chips import SHARED, PlayedDriver
from triton.backends.nvidia.compiler import get_ptxas
from triton.runtime import driver

from gpuquant.ops import cuda_meeting as triton_meeting
from gpuquant.ops import cuda_probe as triton_probe
from gpuquant.ops.dithering import cuda as triton_dithering
from gpuquant.ops.dithering.reference import FIELD_BITS
from gpuquant.ops.lloyd import cuda as triton_lloyd
from gpuquant.ops.lloyd import cuda_color_steps as triton_colors
from gpuquant.ops.lloyd import cuda_grid as triton_grid
from gpuquant.ops.lloyd import cuda_grid_cycles as triton_cycles
from gpuquant.ops.pixels import cuda as triton_ops
from gpuquant.ops.points import cuda as triton_points
from gpuquant.ops.seeding import cuda as triton_seeding
from gpuquant.ops.seeding import cuda_draws as triton_draws
from gpuquant.ops.seeding import cuda_pixels as triton_pixels

Variant = tuple[str, Any, dict[str, str], dict[str, Any]]

OPTIONS: dict[str, dict[str, Any]] = {  # as launched
    "count_colors_kernel": triton_ops.COUNT_OPTIONS,
    "choose_entries_kernel": triton_dithering.OPTIONS,
    "move_centers_kernel": {"enable_fp_fusion": False},
    "color_step_kernel": triton_colors.OPTIONS,
    "breathe_kernel": triton_grid.OPTIONS,
    "measure_cells_kernel": triton_points.CELL_OPTIONS,
    "list_cells_kernel": triton_points.CELL_OPTIONS,
    "probe_kernel": triton_meeting.OPTIONS,
    "choose_centers_kernel": triton_seeding.OPTIONS | triton_meeting.OPTIONS,
    "try_pixels_kernel": triton_pixels.TRY_OPTIONS,
    "add_best_kernel": triton_pixels.ADD_OPTIONS,
}
TYPES: dict[str, Any] = {  # an argument of each type, as the JIT takes it: tensors by their dtype, any number
    "*u8": torch.uint8, "*i16": torch.int16, "*i32": torch.int32, "*i64": torch.int64,
    "*fp32": torch.float32, "*fp64": torch.float64, "i32": 7,
}  # fmt: skip


def variants(*, every: bool = True) -> list[Variant]:
    """The name, kernel, types of the arguments and constants of everything that is launched.

    Not every one: of those that differ in how many candidates k-means++ tries, or in whether points of weight 0 count,
    only some.
    """
    found: list[Variant] = [("probe", triton_probe.probe_kernel, {"target": "*i32"}, {})]
    for grey in (False, True):
        constants: dict[str, Any] = {"GREY": grey, "BLOCK": triton_ops.BLOCK}
        pixels = {"pixels": "*u8", "table": "*i32", "n_pixels": "i32"}
        counted = constants | {"BLOCK": triton_ops.COUNTED}
        found.append((f"count, grey={grey}", triton_ops.count_colors_kernel, pixels, counted))
        for kind in ("u8", "i16", "i32"):
            types = {"pixels": "*u8", "table": f"*{kind}", "labels": f"*{kind}", "n_pixels": "i32"}
            found.append((f"lookup, {kind}, grey={grey}", triton_ops.apply_lookup_kernel, types, constants))
    found += _keys() + _cells() + _dithering(every) + _color_steps() + _breathing(every)
    points = [(f"{kind}, D={n_columns}", kind, n_columns) for kind in ("fp32", "fp64") for n_columns in (1, 2, 3, 4)]
    for name, kind, n_columns in points:
        types = {"points": f"*{kind}", "origin": "*fp64", "weights": "*fp64", "labels": "*i32"}
        found += _lloyd(name, kind == "fp32", every, types, {"D": n_columns})
    for name, kind, n_columns in [("colors", "u8", 3), *points]:
        for lanes in (2, 4, 8, 16) if every or name == "colors" else (4, 16) if n_columns == 1 else (16,):
            found.append(_seeding(name, {"points": f"*{kind}"}, {"D": n_columns, "LANES": lanes}))
    for n_columns, lanes in product((1, 2, 3, 4), (2, 4, 8, 16)) if every else ((3, 4), (4, 16)):
        found += _pixel_seeding({"D": n_columns, "LANES": lanes})
    for scatter in (False, True):
        types = {"parts": "*i64" if scatter else "*fp64", "runs": "*i64", "status": "*i32", "totals": "*fp64"}
        types |= {"scales": "*fp64"} | dict.fromkeys(("n_sums", "n_parts", "n_runs"), "i32")
        constants = {"D": 3, "SUMS": triton_lloyd.SUMS, "PARTS": triton_lloyd.PARTS, "SCATTER": scatter}
        found.append((f"add, scatter={scatter}", triton_lloyd.add_parts_kernel, types, constants))
    return found


def _keys() -> list[Variant]:
    types, block = {"keys": "*i32", "colors": "*u8", "n_colors": "i32"}, {"BLOCK": triton_ops.BLOCK}
    found: list[Variant] = [("colors of keys", triton_ops.colors_from_keys_kernel, types, block)]
    for n_columns in (3, 4):
        constants = block | {"COLUMNS": n_columns}
        for kind in ("u8", "i16", "i32"):
            filled = types | {"values": f"*{kind}", "table": f"*{kind}"}
            name = f"table, {kind}, columns={n_columns}"
            found.append((name, triton_ops.fill_lookup_kernel, filled, constants))
        found.append((f"keys of colors, columns={n_columns}", triton_ops.keys_from_colors_kernel, types, constants))
    return found


def _dithering(every: bool) -> list[Variant]:
    found: list[Variant] = []
    kinds = list(product((1, 3, 4), ("u8", "i16", "i32"), ("u8", "i16")))
    sizes = dict.fromkeys(("n_blocks", "top", "width", "per_row", "mask_rows", "mask_columns", "n_entries"), "i32")
    types = {"pixels": "*u8", "mixtures": "*i64", "palette": "*u8", "mask": "*i64", "totals": "*i64"} | sizes
    for n_columns, numbers, labels in kinds if every else [(1, "i32", "i16"), (3, "u8", "u8"), (4, "i16", "u8")]:
        name = f"choose, columns={n_columns}, {numbers}, {labels}"
        constants = {"COLUMNS": n_columns, "FIELD_BITS": FIELD_BITS, "BLOCK": triton_dithering.BLOCK}
        constants["BINS"] = triton_dithering.bins_for(torch.empty(0, dtype=TYPES[f"*{labels}"]))
        words = {"numbers": f"*{numbers}", "labels": f"*{labels}"}
        found.append((name, triton_dithering.choose_entries_kernel, types | words, constants))
    return found


def _lloyd(name: str, single: bool, every: bool, points: dict[str, str], sizes: dict[str, Any]) -> list[Variant]:
    arrays = {"centers": "*fp64", "runs": "*i64", "status": "*i32", "n_changed": "*i32", "scales": "*fp64"}
    types = points | arrays | dict.fromkeys(("n_points", "n_clusters", "n_runs", "problem_stride"), "i32")
    block = {"BLOCK": triton_lloyd.POINTS}
    found: list[Variant] = []
    scatters = (False, True) if single else (False,)
    weightless = (False, True) if every else (sizes["D"] % 2 == 0,)
    for scatter, counted in product(scatters, weightless):
        step = sizes | block | {"SINGLE": single, "COUNT_WEIGHTLESS": counted, "SCATTER": scatter}
        sums = {"sums": "*i64" if scatter else "*fp64"}
        found.append((f"lloyd, {name}, {scatter=}", triton_lloyd.lloyd_step_kernel, types | sums, step))
    block = {"BLOCK": triton_lloyd.POINTS // 2}
    found.append((f"inertia, {name}", triton_lloyd.inertia_kernel, types | {"parts": "*fp64"}, sizes | block))
    arrays = {"totals": "*fp64", "n_changed": "*i32", "status": "*i32", "centers": "*fp64", "moves": "*fp64"}
    arrays |= {"n_iter": "*i32", "limits": "*fp64"} | dict.fromkeys(("n_clusters", "n_parts", "max_iter"), "i32")
    move = {"D": sizes["D"], "CLUSTERS": triton_lloyd.CLUSTERS, "PARTS": triton_lloyd.PARTS}
    move["SNAP"] = "single" if single else "double"
    paces = {"RELAXATION": 1.5, "MOMENTUM": 0.6}, {"RELAXATION": 1.0, "MOMENTUM": 0.0}
    return found + [(f"move, {name}, {pace}", triton_lloyd.move_centers_kernel, arrays, move | pace) for pace in paces]


def _breathing(every: bool) -> list[Variant]:
    types = {"points": "*u8", "weights": "*i64", "numbers": "*fp64", "shared": "*i64", "own": "*i64"}
    types |= dict.fromkeys(("n_points", "n_clusters", "n_cycles", "n_uniforms"), "i32")
    found: list[Variant] = []
    for n_clusters in (8, 16, 32, 64, 128, 256) if every else (8, 256):
        constants = triton_grid.constants_for(n_clusters)
        found.append((f"breathe, {n_clusters=}", triton_cycles.breathe_kernel, types, constants))
    return found


def _color_steps() -> list[Variant]:
    types = {"colors": "*u8", "weights": "*fp64", "labels": "*i16", "state": "*fp64", "own": "*i64"}
    types |= dict.fromkeys(("n_colors", "n_clusters", "n_runs", "max_iter", "n_steps"), "i32")
    found: list[Variant] = []
    for n_clusters in (triton_colors.FEW, triton_colors.FEW + 1):
        constants = triton_colors.constants_for(n_clusters)
        found.append((f"color step, {n_clusters=}", triton_colors.color_step_kernel, types, constants))
    return found


def _cells() -> list[Variant]:
    types = {"colors": "*u8", "counts": "*i64", "sums": "*i64", "numbers": "*i64", "occupied": "*i64"}
    types |= dict.fromkeys(("n_colors", "bits", "finest", "packed", "n_places"), "i32")
    kernels = triton_points.sum_cells_kernel, triton_points.measure_cells_kernel, triton_points.list_cells_kernel
    return [(kernel.fn.__name__, kernel, types, {"TILE": triton_points.TILE}) for kernel in kernels]


def _seeding(name: str, points: dict[str, str], sizes: dict[str, Any]) -> Variant:
    types = points | dict.fromkeys(("weights", "numbers", "own"), "*fp64")
    numbers = ("n_points", "n_all", "n_runs", "n_centers", "n_candidates", "n_uniforms")
    width = {"WIDTH": triton_draws.WIDTH}
    constants = sizes | width | {"CHUNK": triton_seeding.CHUNK, "PARTS": triton_draws.PARTS}
    constants["BLOCK"] = triton_seeding.block_for(sizes["LANES"])
    kernel = triton_seeding.choose_centers_kernel
    return f"choose, {name}, {sizes}", kernel, types | dict.fromkeys(numbers, "i32"), constants


def _pixel_seeding(sizes: dict[str, Any]) -> list[Variant]:
    floats = ("weights", "closest", "uniforms", "pixel_weights", "draw_sums", "chunk_sums", "part_sums", "reached")
    types = {"points": "*u8", "ranks": "*i32", "candidates": "*i64", "chosen": "*i64"} | dict.fromkeys(floats, "*fp64")
    numbers = ("n_points", "n_pixels", "n_draw_parts", "n_candidates", "uniform", "n_known", "step")
    types |= dict.fromkeys(numbers, "i32")
    chunk, parts = {"CHUNK": triton_pixels.CHUNK}, {"PARTS": triton_draws.PARTS}
    width = parts | {"WIDTH": triton_draws.WIDTH}
    found: list[Variant] = []
    for weighted in (False, True):
        kind = {"WEIGHTED": weighted}
        found.append((f"try, {sizes}, {kind}", triton_pixels.try_pixels_kernel, types, sizes | chunk | width | kind))
        found.append((f"shares, {kind}", triton_pixels.sum_shares_kernel, types, chunk | kind))
    best = sizes | chunk | parts
    return [*found, (f"add best, {sizes}", triton_pixels.add_best_kernel, types, best)]


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
        "most_shared": SHARED.get(chip),
        "tf32": "tf32" in ptx,
        "float_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(f16|bf16|f32|f64)", ptx)),
        "integer_atomics": bool(re.search(r"\b(atom|red)\.\S*\.(u32|s32|b32|u64|s64|b64)", ptx)),
        "instructions": _instructions(compiled.asm["cubin"]),
        "registers": int(re.findall(r"Used (\d+) registers", done.stderr)[0]),
    }
    return json.dumps(row)


def _instructions(cubin: bytes) -> int:
    """Count the machine instructions of a kernel, those of all branches."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
        said = subprocess.run([tool, "-sass", file.name], capture_output=True, text=True, check=True).stdout
    return len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?!NOP|BRA `)", said, re.MULTILINE))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile every kernel without a device.")
    parser.add_argument("chips", nargs="*", type=int, default=[80, 90], help="80 and 90 if none is given")
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

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

from gpuquant.ops import triton_ops
from gpuquant.ops.color_codes import N_CODES

CHIPS = {80: 166_912, 90: 232_448}  # bytes of shared memory that a program may take


def variants() -> list[tuple[str, Any, dict[str, str], dict[str, Any]]]:
    """The name, kernel, types of the arguments and constants of everything that is launched."""
    found: list[tuple[str, Any, dict[str, str], dict[str, Any]]] = []
    for grey in (False, True):
        constants: dict[str, Any] = {"GREY": grey, "BLOCK": triton_ops.BLOCK}
        pixels = {"pixels": "*u8", "table": "*i32", "n_pixels": "i64"}
        found.append((f"count, grey={grey}", triton_ops.count_colors_kernel, pixels, constants | {"N_CODES": N_CODES}))
        for kind in ("u8", "i16", "i32"):
            types = {"pixels": "*u8", "table": f"*{kind}", "labels": f"*{kind}", "n_pixels": "i64"}
            found.append((f"lookup, {kind}, grey={grey}", triton_ops.apply_lookup_kernel, types, constants))
    for kind in ("fp32", "fp64"):
        for n_columns in (1, 2, 3, 4):
            for group in (1, 128):
                types = {"points": "*fp32" if group > 1 else f"*{kind}", "origin": "*fp64", "weights": "*fp64"}
                types |= {"centers": f"*{kind}", "squares": f"*{kind}", "runs": "*i64", "labels": "*i32"}
                types |= {"sums": "*fp64", "n_changed": "*i32"}
                types |= dict.fromkeys(("n_points", "n_clusters", "n_runs", "problem_stride"), "i32")
                constants = {"D": n_columns, "GROUP": group, "BLOCK": triton_ops.POINTS}
                constants |= {"COUNT_WEIGHTLESS": False}
                found.append(
                    (f"lloyd, {kind}, D={n_columns}, group={group}", triton_ops.lloyd_step_kernel, types, constants)
                )
    return found


def main() -> None:
    for chip, most_shared in CHIPS.items():
        name, kernel, types, constants = variants()[-1]
        too_large = "control", kernel, types, constants | {"BLOCK": 8 * triton_ops.POINTS}
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

"""Every Triton kernel of gpuquant, and the row of the report in whose time it shows."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import gpuquant.ops

SHOWN_IN = {  # a row of the steps "times" or "features": a new kernel needs one
    "probe_kernel": "quantize, photo on the device, K = 8",
    "count_colors_kernel": "count colors, photo",
    "apply_lookup_kernel": "look pixels up",
    "fill_lookup_kernel": "quantize, photo on the device, K = 8",
    "keys_from_colors_kernel": "keys of colors",
    "colors_from_keys_kernel": "colors of keys",
    "choose_entries_kernel": "choose entries by a mask",
    "lloyd_step_kernel": "Lloyd step on pixels, float32, K = 16",
    "add_parts_kernel": "Lloyd step on pixels, float32, K = 16",
    "move_centers_kernel": "KMeans on levels, K = 16",
    "inertia_kernel": "KMeans on levels, K = 16",
    "color_step_kernel": "quantize, photo on the device, K = 8",
    "breathe_kernel": "quantize, photo on the device, K = 8",
    "sum_cells_kernel": "quantize, photo on the device, K = 8",
    "measure_cells_kernel": "quantize, photo on the device, K = 8",
    "list_cells_kernel": "quantize, photo on the device, K = 8",
    "choose_centers_kernel": "quantize, photo on the device, K = 256",
    "try_pixels_kernel": "KMeans on levels, K = 16",
    "add_best_kernel": "KMeans on levels, K = 16",
    "sum_shares_kernel": "KMeans on levels, K = 16",
}


def kernel_modules() -> list[ModuleType]:
    """The modules that hold kernels: those of the operations whose name begins with cuda."""
    found = pkgutil.walk_packages(gpuquant.ops.__path__, "gpuquant.ops.")
    names = [one.name for one in found if one.name.rpartition(".")[2].startswith("cuda")]
    return [importlib.import_module(name) for name in sorted(names)]


def every_kernel() -> dict[str, Any]:
    """The kernels by their names."""
    return {
        name: kernel
        for module in kernel_modules()
        for name, kernel in vars(module).items()
        if name.endswith("_kernel") and kernel.fn.__module__ == module.__name__
    }

"""The hot operations: code outside this folder takes them from here."""

from gpuquant.ops.compiled import loops_in_use
from gpuquant.ops.dithering.reference import FIELD_BITS, FULL_STRENGTH
from gpuquant.ops.kernel_choice import kernels_in_use
from gpuquant.ops.level_dispatch import fold_levels, pixel_draws, rank_keys, take_by_keys
from gpuquant.ops.lloyd.colors import MAX_CLUSTERS, MAX_EXACT, MAX_EXACT_STEPS, ColorLloyd
from gpuquant.ops.lloyd.dense import DenseLloyd
from gpuquant.ops.lloyd.device_grid import DeviceGrid
from gpuquant.ops.lloyd.grid_state import GridState, on_grid
from gpuquant.ops.lloyd.moves import AS_LONG_AS_NEEDED, move_centers
from gpuquant.ops.lloyd.run_status import RunStatus
from gpuquant.ops.pixel_dispatch import (
    add_counts,
    alpha_keys,
    alpha_lookup,
    apply_lookup,
    choose_entries,
    colors_from_keys,
    column_means,
    count_alpha,
    count_colors,
    diffuse_errors,
    keys_from_colors,
    lookup_table,
    renumber,
    take,
    upload_and_count,
    walk_to_regions,
)
from gpuquant.ops.pixels.transfers import download
from gpuquant.ops.point_dispatch import (
    GridPoints,
    Lloyd,
    PixelDraws,
    PointSet,
    choose_among_pixels,
    choose_centers,
    coarsen,
    grid_points,
    in_z_order,
    label_samples,
    lloyd_steps,
    point_set,
)
from gpuquant.ops.points.colors import as_steps, levels_of
from gpuquant.ops.points.dense_points import DensePoints

__all__ = [
    "AS_LONG_AS_NEEDED",
    "FIELD_BITS",
    "FULL_STRENGTH",
    "MAX_CLUSTERS",
    "MAX_EXACT",
    "MAX_EXACT_STEPS",
    "ColorLloyd",
    "DenseLloyd",
    "DensePoints",
    "DeviceGrid",
    "GridPoints",
    "GridState",
    "Lloyd",
    "PixelDraws",
    "PointSet",
    "RunStatus",
    "add_counts",
    "alpha_keys",
    "alpha_lookup",
    "apply_lookup",
    "as_steps",
    "choose_among_pixels",
    "choose_centers",
    "choose_entries",
    "coarsen",
    "colors_from_keys",
    "column_means",
    "count_alpha",
    "count_colors",
    "diffuse_errors",
    "download",
    "fold_levels",
    "grid_points",
    "in_z_order",
    "kernels_in_use",
    "keys_from_colors",
    "label_samples",
    "levels_of",
    "lloyd_steps",
    "lookup_table",
    "loops_in_use",
    "move_centers",
    "on_grid",
    "pixel_draws",
    "point_set",
    "rank_keys",
    "renumber",
    "take",
    "take_by_keys",
    "upload_and_count",
    "walk_to_regions",
]

"""A kernel that merges clusters and does nothing else, for tests."""

import triton
import triton.language as tl

from gpuquant.ops.lloyd.cuda_grid_merging import find_partners, merge

LANES = 32


@triton.jit
def merge_alone_kernel(sums, floats, ints, merged_sums, n_clusters, n_kept, LANES: tl.constexpr):  # noqa: N803
    lane = tl.arange(0, LANES)
    costs, partners, places = floats + 4 * LANES, ints + 3 * LANES, ints + 4 * LANES
    find_partners(sums, floats, costs, partners, n_clusters, lane, LANES)
    tl.debug_barrier()
    merge(sums, floats, ints, costs, partners, places, merged_sums, ints + 5 * LANES, n_clusters, n_kept, lane, LANES)

"""A place where all programs of a launch meet, as Triton code: none goes on before all have come."""

import triton
import triton.language as tl

OPTIONS = {"launch_cooperative_grid": True}  # all programs are on the device at once, or the driver refuses the launch


@triton.jit
def meet(arrived, n_awaited):
    """Wait until so many programs have arrived, counted from the launch on; what they wrote before is seen after.

    What others wrote is to be read past the nearest cache, by `.cg`.
    """
    tl.debug_barrier()  # all threads have written
    n_here = tl.atomic_add(arrived, 1, sem="acq_rel") + 1
    while n_here < n_awaited:
        n_here = tl.atomic_add(arrived, 0, sem="acquire")
    tl.debug_barrier()

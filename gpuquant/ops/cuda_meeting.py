"""A place where all programs of a launch meet, as Triton code: none goes on before all have come."""

import torch
import triton
import triton.language as tl

OPTIONS = {"launch_cooperative_grid": True}  # all programs are on the device at once, or the driver refuses the launch


def programs_that_meet(device: torch.device) -> int:
    """As many as a device has room for at once, even if each takes all registers of a multiprocessor.

    One in Triton's interpreter, where programs run one after the other: the first would wait for ever.
    """
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@triton.jit
def meet(arrived, n_met):
    """Wait until all programs along the first axis have arrived, who have met so often before; count this time, too.

    What they wrote before is seen after, if it is read past the nearest cache, by `.cg`. The counter is 0 at first.
    """
    tl.debug_barrier()  # all threads have written
    n_awaited = (n_met + 1) * tl.num_programs(0)
    n_here = tl.atomic_add(arrived, 1, sem="acq_rel") + 1
    while n_here < n_awaited:
        n_here = tl.atomic_add(arrived, 0, sem="acquire")
    tl.debug_barrier()
    return n_met + 1

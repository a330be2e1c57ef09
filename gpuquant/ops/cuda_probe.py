"""The smallest kernel: it shows that Triton can build and run one at all, whose programs wait for each other."""

import torch
import triton
import triton.language as tl

from gpuquant.ops.cuda_meeting import OPTIONS, meet


@triton.jit(do_not_specialize_on_alignment=["target"])
def probe_kernel(target):
    """target = [1, 0, 0, 1, 2], by the newest of what other kernels ask of Triton, and of the driver.

    Two programs write a number each, read the other's when both have come, and the last is how many have.
    """
    own, place = tl.program_id(0), tl.arange(0, 2)
    numbers = tl.gather(place, 1 - place, 0)
    tl.store(target + own, tl.sum(tl.where(place == own, numbers, 0)))
    meet(target + 4, 0)
    tl.store(target + 2 + own, tl.load(target + 1 - own, cache_modifier=".cg"))


def runs_on(device: torch.device) -> bool:
    """Build the kernel for a device, and see what it writes there."""
    target = torch.zeros(5, dtype=torch.int32, device=device)
    with torch.cuda.device_of(target):  # Triton launches on the current device
        probe_kernel[(2,)](target, **OPTIONS)
    return target.tolist() == [1, 0, 0, 1, 2]

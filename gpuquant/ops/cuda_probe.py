"""The smallest kernel: whether Triton can build and run one at all."""

import torch
import triton
import triton.language as tl


@triton.jit(do_not_specialize_on_alignment=["target"])
def probe_kernel(target):
    """target = [1, 0], by the newest of what other kernels ask of Triton."""
    place = tl.arange(0, 2)
    tl.store(target + place, tl.gather(place, 1 - place, 0))


def runs_on(device: torch.device) -> bool:
    """Build the kernel for a device, and see what it writes there."""
    target = torch.zeros(2, dtype=torch.int32, device=device)
    with torch.cuda.device_of(target):  # Triton launches on the current device
        probe_kernel[(1,)](target)
    return target.tolist() == [1, 0]

"""The smallest kernel: whether Triton can build and run one at all."""

import torch
import triton
import triton.language as tl


@triton.jit
def probe_kernel(target):
    """target[0] = 1."""
    tl.store(target, 1)


def runs_on(device: torch.device) -> bool:
    """Build the kernel for a device, and see what it writes there."""
    target = torch.zeros(1, dtype=torch.int32, device=device)
    with torch.cuda.device_of(target):  # Triton launches on the current device
        probe_kernel[(1,)](target)
    return bool(target.item() == 1)

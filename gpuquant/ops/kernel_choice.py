"""Whether Triton's kernels run: for CUDA tensors, where Triton is installed."""

from importlib.util import find_spec
from types import ModuleType

from torch import Tensor


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """The module of Triton kernels, or None where plain torch does the work.

    torch brings Triton on Linux; elsewhere CUDA tensors are worked on by torch's own operations, with the same results.
    """
    if not tensor.is_cuda or find_spec("triton") is None:
        return None
    from gpuquant.ops import triton_ops

    return triton_ops

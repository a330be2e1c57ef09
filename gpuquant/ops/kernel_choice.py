"""Choice of Triton's kernels: they run for CUDA tensors, where Triton is installed and can build kernels."""

import subprocess
import threading
import warnings
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

_lock = threading.Lock()  # of no device in a forked process, which cannot use CUDA
_troubles: dict[torch.device, str] = {}  # the reason why kernels do not run on a device, or nothing


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """The module of Triton kernels, or None where plain torch does the work.

    torch brings Triton on Linux; elsewhere CUDA tensors are worked on by torch's own operations, with the same results.
    So they are where Triton cannot build a kernel, which is tried once per device: it needs a C compiler and Python's
    headers when it first runs, and does not know every device.
    """
    if not tensor.is_cuda or _trouble_on(tensor.device):
        return None
    from gpuquant.ops.pixels import cuda as kernels

    return kernels


def kernels_in_use(device: torch.device) -> str:
    """Name what runs on a CUDA device, and why: a kernel is built where none was."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trouble = _trouble_on(device)
        except torch.OutOfMemoryError:
            return "not known, as the device has no memory left"
    return f"plain torch, as {trouble}" if trouble else "kernels built by Triton"


def _trouble_on(device: torch.device) -> str:
    with _lock:
        if device not in _troubles:
            if torch.version.hip:
                _troubles[device] = "kernels are made for CUDA alone"
            else:
                _troubles[device] = _try_to_build(device) if find_spec("triton") else "Triton is not installed"
        return _troubles[device]


def _try_to_build(device: torch.device) -> str:
    """Import the kernels, build the smallest one and run it; where that fails, warn with the way out."""
    torch.cuda.synchronize(device)  # what went wrong on the device before is told as what it is
    try:
        from gpuquant.ops.cuda_probe import runs_on
        from gpuquant.ops.pixels import cuda  # noqa: F401 (another Triton may not know what they ask for)

        if runs_on(device):
            return ""
        trouble = "a kernel ran and wrote nothing"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler, the linker, the driver and Triton each raise their own
        trouble = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}; {_way_out(error)}"
    message = f"Triton cannot build kernels for {device}, so plain torch runs there, with the same results but slower"
    warnings.warn(f"{message} ({trouble})", stacklevel=2)
    return f"Triton cannot build kernels ({trouble})"


def _way_out(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError | OSError) or "C compiler" in str(error):
        return "install a C compiler and Python's headers (on Debian: apt-get install gcc libc6-dev python3-dev)"
    if isinstance(error, ImportError):
        return "install the Triton that your torch was made with (pip install --force-reinstall triton)"
    return "use a device that Triton supports, or a newer Triton"

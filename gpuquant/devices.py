"""Names of devices, checked once: "auto", "cpu", "cuda", "cuda:1"."""

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpuquant.errors import DeviceError

_without_cuda: set[int] = (
    set()
)  # processes that found no device: also in torch's CUDA build asking ties it to a process


def resolve_device(
    device: str | torch.device,
    *,
    tensor_device: torch.device | None = None,
) -> torch.device:
    """The device that a name stands for.

    "auto" is the device of the tensor that was given, or else CUDA where there is one, or else the CPU. A device that
    is asked for by name and is not there raises `DeviceError`: only "auto" may choose.
    """
    had_none = bool(_without_cuda - {os.getpid()})  # the process that this one was forked from
    lost = not had_none and getattr(torch.cuda, "_is_in_bad_fork", bool)()  # CUDA was used before
    if device == "auto":
        resolved = tensor_device or torch.device("cuda" if lost or (not had_none and _is_available()) else "cpu")
    else:
        resolved = _named_device(device)
    if lost and resolved.type == "cuda":
        advice = 'start it with multiprocessing.get_context("spawn"), or use device="cpu"'
        message = "this process was forked from one that had used CUDA, and cannot use it"
        raise DeviceError(f"device={str(device)!r}: {message}; {advice}")
    if device == "auto":
        return resolved
    n_devices = torch.cuda.device_count() if not had_none and _is_available() else 0
    if resolved.type == "cuda" and (resolved.index or 0) >= n_devices:
        found = f"{n_devices} CUDA devices were found" if n_devices else "no CUDA device was found"
        raise DeviceError(f'device={str(device)!r} is not there: {found}; use device="auto" or "cpu"')
    return resolved


def _is_available() -> bool:
    found = torch.cuda.is_available()
    if not found:
        _without_cuda.add(os.getpid())
    return found


def _named_device(device: str | torch.device) -> torch.device:
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError):
        message = f'device={device!r} is not a device; use "auto", "cpu", "cuda" or "cuda:1"'
        raise DeviceError(message) from None
    if resolved.type not in ("cpu", "cuda"):
        raise DeviceError(f'device={str(device)!r} is not supported; use "auto", "cpu" or "cuda"')
    return resolved


@contextmanager
def memory_error_as_device_error() -> Iterator[None]:
    """Raise `DeviceError` with what was needed and what was free."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # whoever tries again finds the memory of this attempt free
        needed = str(error).split(". GPU")[0]
        named = re.search(r"GPU (\d+) has", str(error))  # not always the current device
        device = torch.device("cuda", int(named[1]) if named else torch.cuda.current_device())
        free, total = (number / 1e9 for number in torch.cuda.mem_get_info(device))
        message = f"{needed}; {free:.2f} of {total:.2f} GB are free on {device}"
        raise DeviceError(f'{message}: use device="cpu", or free memory there') from None

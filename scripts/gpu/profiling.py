"""The parts of the time of `quantize`: kernels, launches, waits, and what the host does meanwhile."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import torch
from gpu.clock import ON_CUDA, milliseconds
from gpu.kernels import every_kernel
from gpu.setting import DEVICE, Row, each_apart, photo
from torch.profiler import ProfilerActivity, profile

import gpuquant

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
COPIES = ("cudaMemcpyAsync", "cudaMemsetAsync")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
MOST_KERNELS = 25  # that are listed, those with the longest times


def profile_quantize() -> Iterator[Row]:
    """Profiles of `quantize` at K = 8 and 256, then what each kernel takes of the device."""
    image = photo().to(DEVICE)
    cases: dict[str, Callable[[], Row]] = {}
    for n_colors in (8, 256):
        cases[f"quantize, photo on the device, K = {n_colors}"] = partial(_profile, image, n_colors)
    yield from each_apart(cases)
    yield from _kernels()


def _profile(image: torch.Tensor, n_colors: int) -> Row:
    quantize = partial(gpuquant.quantize, n_colors=n_colors)
    quantize(image)
    alone = min(milliseconds(quantize, image) for _ in range(3))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if ON_CUDA else [])]
    with profile(activities=activities, acc_events=True) as profiler:
        profiled = milliseconds(quantize, image)
    calls: defaultdict[str, int] = defaultdict(int)
    kernels: defaultdict[str, list[float]] = defaultdict(list)  # microseconds
    n_operations = 0
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kernels[event.name].append(event.time_range.elapsed_us())
        else:
            calls[event.name] += 1
            n_operations += event.name.startswith("aten::") and event.cpu_parent is None
    longest = sorted(kernels.items(), key=lambda one: -sum(one[1]))[:MOST_KERNELS]
    return {
        "wall_ms": alone,
        "wall_ms_profiled": profiled,
        "device_ms": sum(map(sum, kernels.values())) / 1e3,
        "operations": n_operations,
        "launches": sum(calls[name] for name in LAUNCHES),
        "copies": sum(calls[name] for name in COPIES),
        "waits": {name: calls[name] for name in WAITS if calls[name]},
        "kernels": {name[:120]: {"us": round(sum(us), 1), "times": len(us)} for name, us in longest},
    }


def _kernels() -> Iterator[Row]:
    """Registers and spills of every kernel that this process has loaded."""
    if not ON_CUDA:
        yield {"what": "registers and spills", "why_not": "nothing is loaded onto a device here"}
        return
    for name, kernel in every_kernel().items():
        for caches in kernel.device_caches.values():
            for compiled in caches[0].values():
                taken = {"registers": compiled.n_regs, "spills": compiled.n_spills}
                yield {"what": name, **taken, "shared": compiled.metadata.shared}

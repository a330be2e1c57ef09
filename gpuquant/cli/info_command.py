"""The command that says what is there: versions, devices, what runs on each, memory, optional formats."""

import sys


def info() -> None:
    """Show versions, devices, what runs on each, memory, and which optional formats can be read."""
    import os
    import platform

    import numpy as np
    import PIL
    import torch

    from gpuquant import __version__, locations, ops
    from gpuquant.images import heif, strips

    rows = [
        ("gpuquant", __version__),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("numpy", np.__version__),
        ("Pillow", PIL.__version__),
        ("HEIC", f"is not read; {heic}" if (heic := heif.register()) else "is read"),
        ("AVIF", "is read" if heif.reads_avif() else f"is not read; {heif.avif_advice()}"),
        ("large", strips.support()),
        ("URLs", locations.support()),
        ("loops", ops.loops_in_use()),
        ("cpu", f"{platform.machine()}, {torch.get_num_threads()} threads"),
    ]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        rows.append(("memory", f"{gigabytes:.1f} GiB"))
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(n_devices):
        free, total = torch.cuda.mem_get_info(index)
        memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        rows.append((f"cuda:{index}", f"{torch.cuda.get_device_name(index)}, {memory}"))
        rows.append(("kernels", f"on cuda:{index}: {ops.kernels_in_use(torch.device('cuda', index))}"))
    if not n_devices:
        rows.append(("cuda", "no device found"))
    for name, value in rows:
        sys.stdout.write(f"{name:<9} {value}\n")

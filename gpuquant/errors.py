"""The exceptions that gpuquant raises on purpose; everything else is a defect of ours."""


class GpuquantError(Exception):
    """Base class of every error that gpuquant raises on purpose.

    Examples
    --------
    >>> import gpuquant
    >>> try:
    ...     gpuquant.read_palette("missing.hex")
    ... except gpuquant.GpuquantError as error:
    ...     print(error)
    missing.hex: no such file
    """


class ArgumentError(GpuquantError, ValueError):
    """An argument has a value, shape or dtype that cannot be used; the message says what to pass instead.

    Examples
    --------
    >>> import gpuquant
    >>> gpuquant.Palette([[255, 0, 300]])
    Traceback (most recent call last):
        ...
    gpuquant.errors.ArgumentError: color 1: levels are from 0 to 255, got 300
    """


class DeviceError(GpuquantError, RuntimeError):
    """The requested device, or cluster, is not there or cannot be used, or has too little memory.

    Examples
    --------
    >>> import gpuquant
    >>> gpuquant.ColorHistogram(device="gpu")
    Traceback (most recent call last):
        ...
    gpuquant.errors.DeviceError: device='gpu' is not a device; use "auto", "cpu", "cuda" or "cuda:1"
    """


class ImageFileError(GpuquantError, OSError):
    """A file cannot be read, as an image or a palette for example, or cannot be written.

    Examples
    --------
    >>> import gpuquant
    >>> gpuquant.read_palette("missing.hex")
    Traceback (most recent call last):
        ...
    gpuquant.errors.ImageFileError: missing.hex: no such file
    """


class TargetError(GpuquantError):
    """No palette is as good as was asked for.

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> photo = np.zeros((2, 2, 3), np.uint8)
    >>> try:
    ...     result = gpuquant.quantize(photo, target_psnr=60)
    ... except gpuquant.TargetError:
    ...     result = gpuquant.quantize(photo, 4096)
    >>> len(result.palette)
    1
    """


def with_name(error: OSError) -> str:
    """The words of an error of the system's, after the name of the file that it is about where it knows one."""
    said = error.strerror or str(error)
    return said if error.filename is None else f"{error.filename}: {said}"


def size_in_words(n_bytes: int) -> str:
    """Bytes as people write them: "3.2 GB" (10^9)."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes} bytes"


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether an error is about a lack of memory: a MemoryError of Python, or a RuntimeError of torch."""
    words = "not enough memory", "can't allocate memory", "out of memory"
    of_torch = isinstance(error, RuntimeError) and any(some in str(error) for some in words)
    return of_torch or isinstance(error, MemoryError)

"""The exceptions that gpuquant raises on purpose; everything else is a defect of ours."""


class GpuquantError(Exception):
    """Base class of every error that gpuquant raises on purpose."""


class ArgumentError(GpuquantError, ValueError):
    """An argument has a value, shape or dtype that cannot be used; the message says what to pass instead."""


class DeviceError(GpuquantError, RuntimeError):
    """The requested device is not there or is not supported."""


class ImageFileError(GpuquantError, OSError):
    """A file cannot be read as an image, or cannot be written."""


class TargetError(GpuquantError):
    """No palette is as good as was asked for."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether that is what an error of Python, or one of torch's RuntimeErrors, is about."""
    words = "not enough memory", "can't allocate memory", "out of memory"
    of_torch = isinstance(error, RuntimeError) and any(some in str(error) for some in words)
    return of_torch or isinstance(error, MemoryError)

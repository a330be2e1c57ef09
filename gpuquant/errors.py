"""The exceptions that gpuquant raises on purpose; everything else is a defect of ours."""


class GpuquantError(Exception):
    """Base class of every error that gpuquant raises on purpose."""


class ArgumentError(GpuquantError, ValueError):
    """An argument has a value, shape or dtype that cannot be used; the message says what to pass instead."""


class DeviceError(GpuquantError, RuntimeError):
    """The requested device is not there or is not supported."""


class ImageFileError(GpuquantError, OSError):
    """A file cannot be read as an image, or cannot be written."""

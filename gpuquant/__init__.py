"""gpuquant: exact k-means colour quantisation of whole photos, on CUDA or the CPU."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "ArgumentError": "errors",
    "ColorHistogram": "histogram",
    "DeviceError": "errors",
    "GpuquantError": "errors",
    "ImageFileError": "errors",
    "KMeansResult": "clustering",
    "Palette": "palette",
    "QuantizedImage": "quantization",
    "kmeans": "clustering",
    "quantize": "quantization",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpuquant' has no attribute {name!r}")
    return getattr(import_module(f"gpuquant.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

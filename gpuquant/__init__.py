"""gpuquant: exact k-means color quantization of whole photos, on CUDA or the CPU."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquant.batch import quantize_files as quantize_files
    from gpuquant.batch_job import Batch as Batch
    from gpuquant.batch_outcome import FileOutcome as FileOutcome
    from gpuquant.clustering import KMeansResult as KMeansResult
    from gpuquant.clustering import kmeans as kmeans
    from gpuquant.errors import ArgumentError as ArgumentError
    from gpuquant.errors import DeviceError as DeviceError
    from gpuquant.errors import GpuquantError as GpuquantError
    from gpuquant.errors import ImageFileError as ImageFileError
    from gpuquant.errors import TargetError as TargetError
    from gpuquant.estimator import KMeans as KMeans
    from gpuquant.histogram import ColorHistogram as ColorHistogram
    from gpuquant.palette import Palette as Palette
    from gpuquant.palette_files import read_palette as read_palette
    from gpuquant.palette_files import write_palette as write_palette
    from gpuquant.quantization import apply_palette as apply_palette
    from gpuquant.quantization import extract_palette as extract_palette
    from gpuquant.quantization import quantize as quantize
    from gpuquant.quantized_image import QuantizedImage as QuantizedImage

__version__ = "0.1.0"

_HOMES = {
    "ArgumentError": "errors",
    "Batch": "batch_job",
    "ColorHistogram": "histogram",
    "DeviceError": "errors",
    "FileOutcome": "batch_outcome",
    "GpuquantError": "errors",
    "ImageFileError": "errors",
    "KMeans": "estimator",
    "KMeansResult": "clustering",
    "Palette": "palette",
    "QuantizedImage": "quantized_image",
    "TargetError": "errors",
    "apply_palette": "quantization",
    "extract_palette": "quantization",
    "kmeans": "clustering",
    "quantize": "quantization",
    "quantize_files": "batch",
    "read_palette": "palette_files",
    "write_palette": "palette_files",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpuquant' has no attribute {name!r}")
    return getattr(import_module(f"gpuquant.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

"""gpuquant: exact k-means color quantization of whole photos, on CUDA or the CPU."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquant.batch.job import Batch as Batch
    from gpuquant.batch.outcome import FileOutcome as FileOutcome
    from gpuquant.batch.recipe import quantize_files as quantize_files
    from gpuquant.clustering.batched import KMeansResult as KMeansResult
    from gpuquant.clustering.batched import kmeans as kmeans
    from gpuquant.counting.histogram import ColorHistogram as ColorHistogram
    from gpuquant.errors import ArgumentError as ArgumentError
    from gpuquant.errors import DeviceError as DeviceError
    from gpuquant.errors import GpuquantError as GpuquantError
    from gpuquant.errors import ImageFileError as ImageFileError
    from gpuquant.errors import TargetError as TargetError
    from gpuquant.estimator.model import KMeans as KMeans
    from gpuquant.palettes.files import read_palette as read_palette
    from gpuquant.palettes.files import write_palette as write_palette
    from gpuquant.palettes.palette import Palette as Palette
    from gpuquant.quantization.file import quantize_file as quantize_file
    from gpuquant.quantization.file_steps import FileResult as FileResult
    from gpuquant.quantization.recipes import apply_palette as apply_palette
    from gpuquant.quantization.recipes import extract_palette as extract_palette
    from gpuquant.quantization.recipes import quantize as quantize
    from gpuquant.quantization.result import QuantizedImage as QuantizedImage

__version__ = "0.1.0"

_HOMES = {
    "ArgumentError": "errors",
    "Batch": "batch.job",
    "ColorHistogram": "counting.histogram",
    "DeviceError": "errors",
    "FileOutcome": "batch.outcome",
    "FileResult": "quantization.file_steps",
    "GpuquantError": "errors",
    "ImageFileError": "errors",
    "KMeans": "estimator.model",
    "KMeansResult": "clustering.batched",
    "Palette": "palettes.palette",
    "QuantizedImage": "quantization.result",
    "TargetError": "errors",
    "apply_palette": "quantization.recipes",
    "extract_palette": "quantization.recipes",
    "kmeans": "clustering.batched",
    "quantize": "quantization.recipes",
    "quantize_file": "quantization.file",
    "quantize_files": "batch.recipe",
    "read_palette": "palettes.files",
    "write_palette": "palettes.files",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpuquant' has no attribute {name!r}")
    return getattr(import_module(f"gpuquant.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

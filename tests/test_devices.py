import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch

import gpuquant
from gpuquant import ops
from gpuquant.devices import memory_error_as_device_error, resolve_device
from gpuquant.errors import DeviceError
from gpuquant.ops.points.dense_points import DensePoints


def test_names() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto", tensor_device=torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["mps", "meta", "gpu", "", "cuda:99"])
def test_devices_that_cannot_be_used(device: str) -> None:
    with pytest.raises(DeviceError, match="device="):
        resolve_device(device)


def test_what_was_needed_and_free_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are those of the GPU in torch's message, which need not be the current one."""
    free = {torch.device("cuda", 1): (3_000_000_000, 80_000_000_000)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", free.__getitem__)
    message = "CUDA out of memory. Tried to allocate 7.00 GiB. GPU 1 has a total capacity of 79.1 GiB of which"
    with pytest.raises(DeviceError) as caught, memory_error_as_device_error():
        raise torch.OutOfMemoryError(message)
    assert str(caught.value) == (
        "CUDA out of memory. Tried to allocate 7.00 GiB; 3.00 of 80.00 GB are free on cuda:1: "
        'use device="cpu", or free memory there'
    )


def test_whoever_catches_it_finds_the_memory_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1, 2))
    held: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        attempt = torch.zeros(3)
        held.append(weakref.ref(attempt))
        raise torch.OutOfMemoryError("CUDA out of memory. GPU 0 has")

    with pytest.raises(DeviceError) as caught, memory_error_as_device_error():
        fail()
    assert held[0]() is None
    assert caught.value is not None  # and is not forgotten yet


@pytest.mark.parametrize("what", ["quantize", "histogram", "kmeans", "fit", "predict", "transform"])
def test_every_way_in_tells_it(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.00 GiB. GPU 0 has a total capacity")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1, 2))
    samples = np.random.RandomState(0).normal(0, 1, (30, 5))  # of fewer columns predict makes no points
    model = gpuquant.KMeans(2, random_state=0).fit(samples)
    monkeypatch.setattr(ops, "count_colors", fail)
    monkeypatch.setattr(DensePoints, "__init__", fail)
    monkeypatch.setattr(torch, "cdist", fail)
    calls: dict[str, Callable[[], object]] = {
        "quantize": lambda: gpuquant.quantize(np.zeros((4, 4, 3), np.uint8), 2),
        "histogram": lambda: gpuquant.ColorHistogram().add(np.zeros((4, 4, 3), np.uint8)),
        "kmeans": lambda: gpuquant.kmeans(torch.from_numpy(samples), 2),
        "fit": lambda: model.fit(samples),
        "predict": lambda: model.predict(samples),
        "transform": lambda: model.transform(torch.from_numpy(samples)),
    }
    with pytest.raises(DeviceError, match=r"7\.00 GiB; 0\.00 of 0\.00 GB are free"):
        calls[what]()

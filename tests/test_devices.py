import pytest
import torch

from gpuquant.devices import resolve_device
from gpuquant.errors import DeviceError


def test_names() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto", tensor_device=torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["mps", "meta", "gpu", "", "cuda:99"])
def test_devices_that_cannot_be_used(device: str) -> None:
    with pytest.raises(DeviceError, match="device="):
        resolve_device(device)

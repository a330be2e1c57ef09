"""Choice of Triton's kernels on a device: decided once, with the way out where they cannot."""

import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from side_by_side import side_by_side
from triton.runtime import build

from gpuquant.ops import cuda_probe as triton_probe
from gpuquant.ops import kernel_choice
from gpuquant.ops.pixels import cuda as triton_ops

FIRST, SECOND = (torch.device("cuda", index) for index in range(2))


def tensor_on(device: torch.device) -> Any:
    return SimpleNamespace(is_cuda=device.type == "cuda", device=device)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """The devices on which a kernel was built, which succeeds; nothing is known at first."""
    devices: list[torch.device] = []

    def runs_on(device: torch.device) -> bool:
        devices.append(device)
        return True

    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(triton_probe, "runs_on", runs_on)
    monkeypatch.setattr(kernel_choice, "_troubles", {})
    return devices


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def runs_on(_: torch.device) -> bool:
        raise error

    monkeypatch.setattr(triton_probe, "runs_on", runs_on)


def test_the_probe_writes_what_it_says() -> None:
    with side_by_side():
        assert triton_probe.runs_on(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def test_each_device_is_tried_once(tried: list[torch.device]) -> None:
    for device in (FIRST, FIRST, SECOND, FIRST, SECOND):
        assert kernel_choice.kernels_for(tensor_on(device)) is triton_ops
    assert kernel_choice.kernels_for(torch.zeros(1)) is None
    assert tried == [FIRST, SECOND]


def test_without_triton_nothing_is_tried_or_said(tried: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_choice, "find_spec", lambda _: None)
    assert kernel_choice.kernels_for(tensor_on(FIRST)) is None
    assert kernel_choice.kernels_in_use(FIRST) == "plain torch, as Triton is not installed"
    assert tried == []


def test_it_is_said_what_runs_on_each_device(tried: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `gpuquant info` asks: without a warning beside it."""
    assert kernel_choice.kernels_in_use(FIRST) == "kernels built by Triton"
    fail_with(monkeypatch, FileNotFoundError("cc"))
    said = kernel_choice.kernels_in_use(SECOND)
    assert said.startswith("plain torch, as Triton cannot build kernels (FileNotFoundError: cc; install a C compiler")
    assert kernel_choice.kernels_in_use(FIRST) == "kernels built by Triton"
    assert kernel_choice.kernels_for(tensor_on(SECOND)) is None


@pytest.mark.skipif(not hasattr(build, "compile_module_from_src"), reason="this Triton builds by another function")
@pytest.mark.parametrize(
    ("compiler", "says"), [(None, "Failed to find C compiler"), ("/bin/false", "returned non-zero exit status")]
)
def test_a_missing_compiler_is_told_once_and_plain_torch_runs(
    compiler: str | None, says: str, tried: list[torch.device], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The errors are those that Triton's own build step raises."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("CC", compiler) if compiler else monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(triton_probe, "runs_on", lambda _: build.compile_module_from_src("int one;", "one"))
    with pytest.warns(UserWarning, match=rf"cuda:0, so plain torch runs there.*{says}.*apt-get install gcc"):
        assert kernel_choice.kernels_for(tensor_on(FIRST)) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel_choice.kernels_for(tensor_on(FIRST)) is None


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RuntimeError("PTX was compiled for another chip"), "a device that Triton supports"),
        (ImportError("libtriton.so: undefined symbol"), "the Triton that your torch was made with"),
        (FileNotFoundError("cc"), "a C compiler"),
    ],
)
def test_the_advice_is_that_of_the_case(
    error: Exception, advice: str, tried: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, error)
    with pytest.warns(UserWarning, match=advice):
        assert kernel_choice.kernels_for(tensor_on(FIRST)) is None


def test_kernels_that_another_triton_does_not_know_are_told(
    tried: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpuquant.ops.pixels.cuda", None)  # importing it is an error
    monkeypatch.delattr("gpuquant.ops.pixels.cuda")
    with pytest.warns(UserWarning, match="the Triton that your torch was made with"):
        assert kernel_choice.kernels_for(tensor_on(FIRST)) is None
    assert tried == []


def test_on_rocm_plain_torch_runs(tried: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    """There, too, tensors say that they are on cuda."""
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert kernel_choice.kernels_for(tensor_on(FIRST)) is None
    assert kernel_choice.kernels_in_use(FIRST) == "plain torch, as kernels are made for CUDA alone"
    assert tried == []


def test_a_kernel_that_writes_nothing_is_told(tried: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_probe, "runs_on", lambda _: False)
    with pytest.warns(UserWarning, match="wrote nothing"):
        assert kernel_choice.kernels_for(tensor_on(FIRST)) is None


def test_a_lack_of_memory_says_nothing_of_triton(tried: list[torch.device], monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, torch.OutOfMemoryError())
    with pytest.raises(torch.OutOfMemoryError):
        kernel_choice.kernels_for(tensor_on(FIRST))
    assert kernel_choice.kernels_in_use(FIRST) == "not known, as the device has no memory left"
    monkeypatch.setattr(triton_probe, "runs_on", lambda _: True)
    assert kernel_choice.kernels_for(tensor_on(FIRST)) is triton_ops

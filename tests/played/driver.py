"""A driver of a chip that is not there: Triton's JIT binds and compiles for it; launches are recorded and emulated."""

from types import SimpleNamespace
from typing import Any

import triton.compiler
from torch.utils._python_dispatch import _disable_current_modes
from triton.runtime import driver

from played.chips import SHARED, PlayedDriver
from played.costs import device_us
from played.device import DeviceTensor
from played.emulations import EMULATIONS, load_emulations
from played.record import RECORD


class PlayedKernel:
    """A compiled kernel, as the JIT keeps and launches it, or as it is launched past the JIT."""

    function = packed_metadata = None

    def __init__(self, source: Any) -> None:
        self._name, self._names = source.fn.__name__, source.fn.arg_names

    def launch_metadata(self, *_: Any) -> None:
        """Nothing is to be told to tools."""

    def run(self, x: int, y: int, z: int, *rest: Any) -> None:
        """Be launched by the JIT: stream, function, two of metadata, two of hooks, and then the arguments."""
        self._launch((x, y, z), rest[6:], is_direct=False)

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        whole = (*grid, 1, 1)[:3]
        return lambda *arguments, stream=None: self._launch(whole, arguments, is_direct=True)

    def _launch(self, grid: tuple[int, ...], arguments: Any, *, is_direct: bool) -> None:
        assert len(arguments) == len(self._names), self._name
        given = SimpleNamespace(**dict(zip(self._names, map(_held, arguments), strict=True)))
        x, y, z = map(int, grid)
        assert x < 1 << 31, (self._name, grid)
        assert y < 1 << 16, (self._name, grid)
        if not x * y:
            return
        with _disable_current_modes():
            EMULATIONS[self._name]((x, y, z), given)
            taken = device_us(self._name, (x, y, z), given)
        RECORD.add("launch", self._name, device_us=taken, is_direct=is_direct)


def _held(value: Any) -> Any:
    if isinstance(value, DeviceTensor):
        return value.held
    assert not hasattr(value, "data_ptr"), "a kernel was given a tensor of the CPU"
    return getattr(value, "value", value)  # of a constant


def install(chip: int, *, compiles: bool = True) -> None:
    """Let Triton have the chip in this process; without `compiles` only what would be compiled is recorded."""
    load_emulations()
    driver.set_active(PlayedDriver(chip))
    original = triton.compiler.compile

    def compile_for_chip(source: Any, target: Any = None, options: Any = None, **more: Any) -> PlayedKernel:
        if compiles:
            built = original(source, target=target, options=options, **more)
            assert built.metadata.shared <= SHARED[chip], source.fn.__name__
        RECORD.compiled.append(source.fn.__name__)
        return PlayedKernel(source)

    triton.compiler.compile = compile_for_chip

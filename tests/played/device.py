"""Tensors of a device that is not there: they say that they are on cuda:0, and their values are on the CPU.

Operations are what torch's dispatcher is asked for on such tensors, or to make one:
- a view is one whose result shares memory with what it was given; it launches nothing;
- a wait is where the host would stand still until the device has done all it was asked for: it reads a number (`item`,
  `tolist`, `bool`), copies between the host's ordinary memory and the device, either way, unless `non_blocking` and
  little enough to the device, asks for a result whose size depends on values (`nonzero`, `unique`, a mask as an index),
  or waits by name (`synchronize`);
- an operation is everything else, and copies and such results are both operations and waits.
"""

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from played.costs import operation_us
from played.record import RECORD

DEVICE = torch.device("cuda:0")
CPU = torch.device("cpu")
PROCESSORS = 132  # of an H200
MEMORY = 141 * 10**9  # bytes
CUDA_TYPE, META_TYPE = 1, 14  # of c10::DeviceType
SIZED_BY_VALUES = {  # and how often torch waits in each
    "aten::nonzero": 1, "aten::masked_select": 1, "aten::equal": 1, "aten::bincount": 2, "aten::_unique2": 1,
    "aten::unique_consecutive": 1, "aten::unique_dim": 1, "aten::repeat_interleave.Tensor": 1,
}  # fmt: skip
MOST_STAGED = 1 << 16  # bytes that are copied from ordinary memory to a device without a wait, by CUDA's documentation
MIXED = {"aten::copy_", "aten::_to_copy", "aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"}


class DeviceTensor(torch.Tensor):
    """A tensor on cuda:0 whose values are those of `held`, on the CPU."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type["DeviceTensor"], held: Tensor) -> "DeviceTensor":
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        return made

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"DeviceTensor({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        return _play(function, given, named or {})


class PlayedDevice(TorchDispatchMode):
    """The requests of one thread to the device."""

    def __enter__(self) -> "PlayedDevice":
        torch._C._set_only_lift_cpu_tensors(True)  # numbers become tensors on the CPU, and these are copied
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_dispatch__(self, function: Any, _: Any, given: Any = (), named: Any = None) -> Any:
        return _play(function, given, named or {})


class _Tensors:
    """The tensors of one call, on the device and not."""

    def __init__(self) -> None:
        self.there: dict[int, DeviceTensor] = {}  # by what they hold
        self.here: list[Tensor] = []

    def held(self, value: Any) -> Any:
        """An argument as the CPU takes it."""
        if isinstance(value, DeviceTensor):
            self.there[id(value.held)] = value
            return value.held
        if isinstance(value, Tensor):
            self.here.append(value)
        if isinstance(value, list | tuple):
            return type(value)([self.held(one) for one in value])
        return value

    def given_back(self, value: Any, *, is_there: bool) -> Any:
        """A result; what was an argument is the same one again."""
        if isinstance(value, Tensor):
            if id(value) in self.there:
                return self.there[id(value)]
            return DeviceTensor(value) if is_there and not any(value is one for one in self.here) else value
        if isinstance(value, list | tuple):
            return [self.given_back(one, is_there=is_there) for one in value]
        return value


def _play(function: Any, given: Any, named: dict[str, Any]) -> Any:
    tensors = _Tensors()
    arguments = tensors.held(tuple(given))
    options = {name: tensors.held(value) for name, value in named.items()}
    asked = options.get("device")
    is_there = bool(tensors.there) if asked is None else torch.device(asked).type == "cuda"
    if asked is not None:
        options["device"] = CPU
    if options.get("pin_memory"):
        options["pin_memory"] = False
    name = function.name()
    if tensors.there and name.removesuffix(".default") not in MIXED and any(one.ndim for one in tensors.here):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")
    waits = _n_waits(name, given, named, is_there) if tensors.there or is_there else 0
    found = function(*arguments, **options)
    if tensors.there or is_there:
        _tell(function, name, waits, [*tensors.there.values(), *_each_tensor(found)])
    return tensors.given_back(found, is_there=is_there)


def _tell(function: Any, name: str, waits: int, tensors: list[Tensor]) -> None:
    if name != "aten::_local_scalar_dense":  # a wait, and nothing else
        kind = "view" if _is_view(function) else "operation"
        RECORD.add(kind, name, device_us=0.0 if kind == "view" else operation_us(name, tensors))
    if waits:
        RECORD.add("wait", name, times=waits)


def _each_tensor(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, list | tuple):
        for one in found:
            yield from _each_tensor(one)


@cache
def _is_view(function: Any) -> bool:
    returned = [one.alias_info for one in function._schema.returns]
    return any(alias is not None and not alias.is_write for alias in returned)


def _n_waits(name: str, given: Any, named: dict[str, Any], is_there: bool) -> int:
    if name == "aten::_local_scalar_dense":
        return 1
    if name == "aten::_to_copy":
        is_async = named.get("non_blocking") and _is_soon_copied(given[0], to_host=not is_there)
        return int(_is_played(given[0]) != is_there and not is_async)
    if name == "aten::copy_":  # asynchronous ones are those of pinned buffers
        is_async = named.get("non_blocking") or (len(given) > 2 and given[2])
        return int(_is_played(given[0]) != _is_played(given[1]) and not is_async)
    if name in ("aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_"):
        index = [one for one in given[1] if one is not None]
        masks = sum(one.dtype in (torch.bool, torch.uint8) for one in index)
        if name != "aten::index.Tensor" and given[2].numel() == 1:
            masks = 0  # torch fills what is masked
        return masks + sum(not _is_played(one) for one in index)
    return SIZED_BY_VALUES.get(name, 0)


def _is_soon_copied(tensor: Tensor, *, to_host: bool) -> bool:
    """Tell whether a copy from or to ordinary memory that is asked not to block does not."""
    return not to_host and tensor.numel() * tensor.element_size() <= MOST_STAGED


def _is_played(tensor: Tensor) -> bool:
    return isinstance(tensor, DeviceTensor)


class _Stream:
    """A stream, or an event in one."""

    def synchronize(self) -> None:
        RECORD.add("wait", "synchronize")

    def record(self, _: Any = None) -> None:
        """All is done at once."""

    wait_stream = wait_event = record


def _allow_guards() -> None:
    """Let torch guard the current device, which its CPU build cannot: nothing is done, as for meta tensors."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (META_TYPE + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    guards[CUDA_TYPE] = guards[META_TYPE]


def install() -> None:
    """Let this process have the device from now on, in every thread."""
    _allow_guards()
    stream = _Stream()
    chip = {"multi_processor_count": PROCESSORS, "total_memory": MEMORY, "major": 9, "minor": 0, "name": "H200, played"}
    for name, value in {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "is_initialized": lambda: True,
        "get_device_properties": lambda _=0: SimpleNamespace(**chip),
        "get_device_name": lambda _=0: chip["name"],
        "mem_get_info": lambda _=0: (MEMORY, MEMORY),
        "synchronize": lambda _=0: stream.synchronize(),
        "Event": _Stream,
        "Stream": _Stream,
        "current_stream": lambda _=0: stream,
        "stream": contextlib.nullcontext,
        "device": contextlib.nullcontext,
        "device_of": contextlib.nullcontext,
        "empty_cache": lambda: None,
    }.items():
        setattr(torch.cuda, name, value)
    run = threading.Thread.run

    def run_on_device(thread: threading.Thread) -> None:
        with PlayedDevice():  # type: ignore[no-untyped-call]
            run(thread)

    setattr(threading.Thread, run.__name__, run_on_device)
    PlayedDevice().__enter__()  # type: ignore[no-untyped-call]

"""A stand-in for a GPU: its numbers are in host memory, its rules about devices are a GPU's.

Tensors of two devices do not meet in an operation, and none of a GPU becomes an array before it has
been copied to host memory. `Memory` counts the bytes of its tensors. What a kernel of a GPU
computes, how fast, and how much memory it takes inside is not to be learned from it.
"""

from __future__ import annotations

import multiprocessing
import weakref
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp._fully_shard import _fsdp_param
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from rlinf.workers import actor, rollout

GPU = torch.device("privateuseone")  # what torch calls a device that others may add

_aten = torch.ops.aten
# A tensor of one element in host memory may meet those of a GPU, but not in these.
_ONE_DEVICE = {_aten.cat.default, _aten.stack.default}
# Their index may be in host memory; what is indexed may not.
_TWO_DEVICES = {_aten.index.Tensor, _aten.index_put_.default}


@contextmanager
def process_with_gpu() -> Iterator[Executor]:
    """A process that has a GPU; this one gets none. What it is given to do must be picklable."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _install) as process:
        yield process


class _OnGpu(Tensor):
    """A tensor of the stand-in."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _OnGpu:
        made: _OnGpu = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            held.stride(),
            held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(GPU.type, 0),
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


class _Data(TorchFunctionMode):
    """`parameter.data = tensor` between a host and a GPU, as torch knows it for a CUDA device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__set__:
            old, new = args
            if isinstance(old, _OnGpu) and isinstance(new, _OnGpu):
                old.held = new.held
            elif isinstance(old, _OnGpu) or isinstance(new, _OnGpu):
                new = new.detach().requires_grad_(old.requires_grad)
                if isinstance(old, nn.Parameter):
                    new = nn.Parameter(new, requires_grad=old.requires_grad)
                torch.utils.swap_tensors(old, new)
                return None
        return func(*args, **(kwargs or {}))


class _Rules(TorchDispatchMode):
    """Also operations without a tensor of the stand-in may make one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if torch.is_inference_mode_enabled():  # which does not take operations apart by itself
        with _Rules():
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        with torch.inference_mode(False), torch.no_grad():
            return _compute(func, args, kwargs)
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if any(isinstance(t, DTensor) for t in tensors):
        return NotImplemented  # it takes itself apart
    ours = [t for t in tensors if isinstance(t, _OnGpu)]
    asked = kwargs.get("device")
    to_gpu = asked.type == GPU.type if asked is not None else bool(ours)
    if not ours and not to_gpu:
        return func(*args, **kwargs)
    if func is _aten._to_copy.default or func is _aten.copy_.default:
        to_gpu = to_gpu if func is _aten._to_copy.default else isinstance(args[0], _OnGpu)
    elif ours:
        _refuse_two_devices(func, args, [t for t in tensors if not isinstance(t, _OnGpu)])
    if func is _aten._fused_sdp_choice.default:
        return 0  # attention from its parts; the host's own kernel has no gradient for a GPU
    held_args, held_kwargs = pytree.tree_map(
        lambda x: x.held if isinstance(x, _OnGpu) else x, (args, kwargs)
    )
    if asked is not None:
        held_kwargs["device"] = torch.device("cpu")
    out = func(*held_args, **held_kwargs)
    if to_gpu:
        out = pytree.tree_map(lambda x: _counted(x) if isinstance(x, Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, out)


class Memory:
    """Bytes in the memory of the stand-in: now, and the most since `reset`."""

    now = peak = 0
    _known: ClassVar[set[int]] = set()  # addresses

    @classmethod
    def reset(cls) -> None:
        cls.peak = cls.now

    @classmethod
    def count(cls, memory: torch.UntypedStorage) -> None:
        address, size = memory.data_ptr(), memory.nbytes()
        if not size or address in cls._known:
            return
        cls._known.add(address)
        cls.now += size
        cls.peak = max(cls.peak, cls.now)
        weakref.finalize(memory, cls._free, address, size)

    @classmethod
    def _free(cls, address: int, size: int) -> None:
        cls._known.discard(address)
        cls.now -= size


def _counted(held: Tensor) -> _OnGpu:
    Memory.count(held.untyped_storage())
    return _OnGpu(held)


def _refuse_two_devices(func: Any, args: Any, on_host: list[Tensor]) -> None:
    changes = func._schema.name.endswith("_") or func in _TWO_DEVICES
    written = changes and not isinstance(args[0], _OnGpu)
    too_large = func not in _TWO_DEVICES and any(t.dim() for t in on_host)
    if on_host and (written or too_large or func in _ONE_DEVICE):
        raise RuntimeError(f"expected all tensors to be on the same device: {func}")


class _Order:
    """A stream or an event: everything here happens in the order of the program."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


class _Module(backend_registration._DummyBackendModule):
    """What torch asks the module of a device, as `torch.cuda`."""

    Stream = Event = _Order
    stream = current_stream = device = staticmethod(_Order)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16]

    @staticmethod
    def get_rng_state(device: object = None) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    @staticmethod
    def set_rng_state(state: Tensor, device: object = None) -> None:
        pass

    @staticmethod
    def set_device(device: object) -> None:
        pass


def _install() -> None:
    """Gives this process a GPU, for as long as it lives."""
    backend_registration._setup_privateuseone_for_python_backend("standin", _Module())
    # A parameter stays the same object when it moves, as it does between a host and a GPU.
    torch.__future__.set_swap_module_params_on_conversion(True)
    make = torch.tensor

    def tensor(data: Any, *, device: torch.device | None = None, **options: Any) -> Tensor:
        return make(data, **options).to(device or "cpu")  # torch's own hides the copy

    torch.tensor = tensor
    _use_held_memory()
    for worker in (actor, rollout):
        worker.prepare_torch = lambda threads: GPU
    _Data().__enter__()
    _Rules().__enter__()


def _use_held_memory() -> None:
    """FSDP2 asks for the address of a tensor's memory, and frees it; the stand-in has none."""
    address = torch.UntypedStorage.data_ptr
    torch.UntypedStorage.data_ptr = lambda memory: (
        address(memory) if memory.device.type == "cpu" else id(memory)
    )
    _fsdp_param.free_storage = _fsdp_param.alloc_storage = lambda tensor: None

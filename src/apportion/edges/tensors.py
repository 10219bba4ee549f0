"""numpy arrays from what trainers hold, and back; torch is touched only where a tensor of it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BatchError

Array = NDArray[Any]


@dataclass(frozen=True)
class Home:
    """Where tensors came from: the library, the float dtype and the device to give back."""

    library: str = "numpy"
    dtype: str = "float64"
    device: str = "cpu"


def is_torch(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "torch"


def to_numpy(name: str, value: Any) -> Array:
    """A numpy view or copy of an array, a list or a tensor (any dtype, device, with or without grad)."""
    if is_torch(value):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() and value.element_size() < 4 else value).numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise BatchError(f"{name}: expected a rectangular array ({error})") from None


def home_of(tensors: Mapping[str, Any], floats: Mapping[str, Any]) -> Home:
    """torch if any tensor is; the device of the first one; the dtype of the first float given."""
    torches = [t for t in tensors.values() if is_torch(t)]
    dtype = next((d for d in map(_float_dtype, floats.values()) if d), "float32")
    if not torches:
        return Home("numpy", dtype)
    return Home("torch", dtype, str(torches[0].device))


def _float_dtype(value: Any) -> str:
    if is_torch(value):
        return str(value.dtype).removeprefix("torch.") if value.is_floating_point() else ""
    return str(value.dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else ""


def give_back(array: Array, home: Home) -> Any:
    """``array`` in the trainer's library and device; floats in its dtype, integers and masks as they are."""
    if home.library == "numpy":
        return array.astype(home.dtype, copy=False) if array.dtype.kind == "f" else array
    import torch  # type: ignore[import-not-found,unused-ignore]

    tensor = torch.from_numpy(array)
    if array.dtype.kind == "f":
        tensor = tensor.to(getattr(torch, home.dtype))
    return tensor.to(home.device)

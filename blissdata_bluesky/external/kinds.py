"""What the documents say of the frames of a data key: dtype, shape, and how they follow each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ExternalFormatError

Array = np.ndarray[Any, np.dtype[Any]]

# what a data key without `dtype_numpy` means by `dtype`, as bluesky-tiled-plugins reads it
_BROAD_DTYPES = {"number": "<f8", "array": "<f8", "boolean": "|b1", "integer": "<i8"}


@dataclass(frozen=True, slots=True)
class FrameKind:
    """What one reference stands for.

    `dtype` and `shape` (`datum_shape` of bluesky-tiled-plugins) of its data; `is_exact`: whether the data key says its
    dtype, and not only "number" or "array"; `joined`: whether frames follow each other along their first axis.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_exact: bool
    joined: bool

    @property
    def size(self) -> int:
        """Number of elements of one frame."""
        return math.prod(self.shape)

    @property
    def how(self) -> str:
        """How frames follow each other, for messages."""
        return " end to end" if self.joined else ""

    def require_same(self, other: FrameKind, where: str) -> None:
        """Make sure that frames of another resource are alike. Raises ExternalFormatError."""
        if other != self:
            raise ExternalFormatError(
                f"{where} has frames of shape {other.shape}{other.how}, where the first resource of the data key has "
                f"{self.shape}{self.how}"
            )

    def require_dtype(self, found: np.dtype[Any], where: str) -> None:
        """Make sure that values of a file become `dtype` unchanged. Raises ExternalFormatError."""
        if self.dtype.newbyteorder("=") == found.newbyteorder("="):
            return
        if not self.is_exact and _fits(found, self.dtype):
            return
        raise ExternalFormatError(
            f"{where} holds {found}, where the data key says {self.dtype}. The values are not converted, for they might "
            "change: mend 'dtype_numpy' of the device's describe()"
        )

    def require_shape(self, found: Sequence[int], where: str) -> None:
        """Make sure that the last axes of a file's data, one frame or a part of it, are the last ones of `shape`.

        Axes of length 1 do not count. Raises ExternalFormatError.
        """
        axes, own = _longer_than_one(found), _longer_than_one(self.shape)
        if axes != own[len(own) - len(axes) :]:
            raise ExternalFormatError(
                f"{where} holds frames of shape {tuple(found)}, where the documents say {self.shape}: mend 'shape' of the "
                "device's describe()"
            )


def frame_kind(data_key: Mapping[str, Any], parameters: Mapping[str, Any]) -> FrameKind:
    """What the documents say. `parameters` of the stream_resource. Raises ExternalFormatError."""
    joined = parameters.get("join_method", "stack") == "concat"
    shape = _shape(data_key)
    if shape == (1,) and not joined:
        shape = ()
    multiplier = parameters.get("multiplier")
    if isinstance(multiplier, int) and multiplier > 0:
        shape = _multiplied(shape, multiplier)
    dtype, is_exact = _dtype(data_key)
    return FrameKind(dtype, shape, is_exact, joined and bool(shape) and shape[0] > 0)


def _shape(data_key: Mapping[str, Any]) -> tuple[int, ...]:
    shape = data_key.get("shape")
    lengths = () if shape is None else tuple(shape) if isinstance(shape, list | tuple) else (None,)
    if any(not isinstance(length, int | np.integer) or not 0 <= length < 2**63 for length in lengths):
        raise ExternalFormatError(
            f"its shape {shape!r} is not known beforehand: frames of varying shape cannot be read"
        )
    return tuple(int(length) for length in lengths)


def _multiplied(shape: tuple[int, ...], multiplier: int) -> tuple[int, ...]:
    if shape and shape[0] == multiplier:
        return shape
    return (multiplier, *(shape[1:] if shape and shape[0] == 1 else shape))


def _dtype(data_key: Mapping[str, Any]) -> tuple[np.dtype[Any], bool]:
    exact = data_key.get("dtype_descr") or data_key.get("dtype_numpy") or data_key.get("dtype_str")
    said = exact or _BROAD_DTYPES.get(str(data_key.get("dtype")))
    try:
        fields = [tuple(field) for field in said] if isinstance(said, list | tuple) else said
        # without one, numpy would take float64
        dtype = np.dtype("O" if fields is None else fields)
    except Exception as error:
        raise _no_dtype(said) from error
    if dtype.hasobject or _has_no_unit(dtype):
        raise _no_dtype(said)
    return dtype, bool(exact)


def _has_no_unit(dtype: np.dtype[Any]) -> bool:
    """Whether it is a time without its unit, which cannot be listed."""
    if dtype.subdtype:
        return _has_no_unit(dtype.subdtype[0])
    if dtype.fields:
        return any(_has_no_unit(field[0]) for field in dtype.fields.values())
    return dtype.kind in "mM" and np.datetime_data(dtype)[0] == "generic"


def _no_dtype(said: Any) -> ExternalFormatError:
    return ExternalFormatError(
        f"its dtype {said!r} is none that files hold: mend 'dtype_numpy' of the device's describe()"
    )


def _fits(found: np.dtype[Any], wider: np.dtype[Any]) -> bool:
    # numpy takes it for safe that integers of 64 bits become floats of 53
    is_rounded = found.kind in "iu" and found.itemsize == 8 and wider.kind == "f"
    return np.can_cast(found, wider, "safe") and not is_rounded


def _longer_than_one(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)

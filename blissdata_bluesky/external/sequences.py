"""Sequences of files, one or more for each frame: TIFF, JPEG, NPY, HDF5."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from ..errors import ExternalFormatError, ExternalNotReadyError
from . import hdf5
from .files import decoding, found_file, not_installed, shown
from .kinds import Array, FrameKind
from .resources import HDF5, JPEG, NPY, TIFF, Resource
from .roots import Roots

# digits of a file's number
_WIDEST = 99


def read(resource: Resource, kind: FrameKind, indices: Sequence[int], roots: Roots, into: Array) -> None:
    """Write the frames with these indices into an array (n, *shape). Raises ExternalDataError."""
    names = FileNames(resource, kind)
    part = replace(kind, shape=names.part_shape)
    for position, index in enumerate(indices):
        files = into[position : position + 1].reshape(names.files_each, *part.shape)
        for number, uri in enumerate(names.of(index)):
            one = files[number : number + 1]
            if resource.mimetype == HDF5:
                hdf5.read_only_frame(replace(resource, uri=uri), part, roots, one)
            else:
                _read_image(uri, resource.mimetype, part, roots, one)


class FileNames:
    """The URIs of the files of a sequence, as bluesky-tiled-plugins makes them from a resource's parameters.

    Each frame is in `files_each` files, of which each has data of `part_shape`. Raises ExternalFormatError.
    """

    def __init__(self, resource: Resource, kind: FrameKind) -> None:
        consolidator = _consolidator(resource, kind)
        _require_numbers(consolidator.template, resource.uri)
        self._uri_of: Callable[[int], str] = consolidator.get_datum_uri
        self.files_each: int = consolidator.files_per_datum
        first, *rest = kind.shape or (1,)
        if self.files_each < 1 or first % self.files_each:
            raise ExternalFormatError(
                f"{resource.uri}: {first} frames are not divided evenly among {self.files_each} files"
            )
        self.part_shape = kind.shape if self.files_each == 1 else (first // self.files_each, *rest)

    def of(self, index: int) -> list[str]:
        """The files of a frame."""
        first = index * self.files_each
        return [self._uri_of(number) for number in range(first, first + self.files_each)]


def _consolidator(resource: Resource, kind: FrameKind) -> Any:
    try:
        from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
    except ImportError as error:
        raise not_installed(f"{resource.uri}: the names of its files", error) from error
    # it changes the documents that it is given, and warns of "concat"
    parameters = copy.deepcopy({**resource.parameters})
    if parameters.pop("join_method", "stack") == "concat":
        parameters["files_per_datum"] = parameters.get("files_per_datum") or _files_of_joined(parameters, kind)
    document = {"data_key": "key", "mimetype": resource.mimetype, "uri": resource.uri, "parameters": parameters}
    try:
        return consolidator_factory(
            document, {"data_keys": {"key": {"shape": kind.shape, "dtype_numpy": kind.dtype.str}}}
        )
    except Exception as error:
        raise ExternalFormatError(
            f"{resource.uri}: its parameters {dict(resource.parameters)} name no files ({type(error).__name__}: {error})"
        ) from error


def _files_of_joined(parameters: dict[str, Any], kind: FrameKind) -> int:
    """As bluesky-tiled-plugins counts the files of frames that are joined along their first axis."""
    first, per_file = (kind.shape or (1,))[0], (*parameters.get("chunk_shape", ()), 1)[0]
    return max(first // per_file, 1) if first % per_file == 0 else 1


def _require_numbers(template: str, uri: str) -> None:
    """Make sure that a template asks for nothing but the file's number, of moderate length."""
    try:
        fields = [field[1:] for field in Formatter().parse(template) if field[1] is not None]
    except ValueError:
        fields = [(None, None, None)]
    if len(fields) > 1 or not all(_is_number(*field) for field in fields):
        raise ExternalFormatError(f"{uri}: {template!r} is no name of a file with its number")


def _is_number(name: str | None, form: str | None, conversion: str | None) -> bool:
    digits = (form or "").lstrip("<>=^+- ").removesuffix("d")
    return name in {"", "0"} and not conversion and (not digits or (digits.isdecimal() and int(digits) <= _WIDEST))


def _read_image(uri: str, mimetype: str, part: FrameKind, roots: Roots, into: Array) -> None:
    path = found_file(uri, roots)
    where = shown(path, uri)
    with decoding(where):
        into[...] = _LOADERS[mimetype](path, part, where).reshape(into.shape)


def _tiff(path: Path, part: FrameKind, where: str) -> Array:
    import tifffile

    # of the formats that name other files, this one alone is read: nobody has looked where those are
    with tifffile.TiffFile(path, _multifile=False, is_ndtiff=False, is_mmstack=False) as file:
        series = file.series[0]
        _require(part, series.dtype, series.shape, where)
        # tifffile gives zeros for pages that are in other files, and for strips that were never written
        if not all(page is not None and _is_written(page, file.filehandle.size) for page in series.pages):
            raise ExternalNotReadyError(f"{where} is truncated, or not yet flushed: try again later")
        try:
            return np.asarray(series.asarray())
        except (ImportError, ValueError) as error:
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                raise ExternalFormatError(
                    f"{where} is compressed by method {series.keyframe.compression:d} of TIFF: pip install imagecodecs"
                ) from error
            raise


def _is_written(page: Any, size: int) -> bool:
    strips = zip(page.dataoffsets, page.databytecounts, strict=True)
    return all(length and offset + length <= size for offset, length in strips)


def _jpeg(path: Path, part: FrameKind, where: str) -> Array:
    from PIL import Image

    with Image.open(path, formats=["JPEG"]) as image:
        bands = len(image.getbands())
        _require(part, np.dtype("u1"), (image.height, image.width, *([bands] if bands > 1 else [])), where)
        return np.asarray(image)


def _npy(path: Path, part: FrameKind, where: str) -> Array:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        _require(part, dtype, shape, where)
        file.seek(0)
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _require(part: FrameKind, dtype: Any, shape: Sequence[int], where: str) -> None:
    part.require_dtype(np.dtype(dtype), where)
    part.require_shape(shape, where)
    if int(np.prod(shape, dtype=object)) != part.size:
        raise ExternalFormatError(
            f"{where} holds an array of shape {tuple(shape)}, where the documents say {part.shape}"
        )


_LOADERS: dict[str, Callable[[Path, FrameKind, str], Array]] = {TIFF: _tiff, JPEG: _jpeg, NPY: _npy}

"""Resources and datums as the documents give them, old and new, in one form."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ExternalFormatError
from ..foreign import as_text

HDF5, ZARR = "application/x-hdf5", "application/x-zarr"
TIFF, JPEG = "multipart/related;type=image/tiff", "multipart/related;type=image/jpeg"
NPY = "multipart/related;type=application/x-npy"

_AREA_DETECTOR, _XSPRESS = "/entry/data/data", "/entry/instrument/detector/data"

# what the handlers of these specs open; of other HDF5 specs the documents do not say the dataset
_SPECS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(["HDF5", "AD_HDF5", "AD_HDF5_SINGLE", "AD_HDF5_SWMR"], (HDF5, _AREA_DETECTOR)),
    **dict.fromkeys(["XSP", "XSP3", "TPX_HDF5"], (HDF5, _XSPRESS)),
    **dict.fromkeys(["AD_HDF5_SWMR_STREAM", "AD_HDF5_SWMR_SLICE"], (HDF5, "")),
    "AD_TIFF": (TIFF, ""),
    "NPY_SEQ": (NPY, ""),
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A file, or a sequence of files, with frames."""

    mimetype: str
    uri: str
    parameters: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """The path in an HDF5 file. Raises ExternalFormatError when the documents do not say it."""
        dataset = self.parameters.get("dataset")
        if not isinstance(dataset, str) or not dataset.strip("/"):
            raise ExternalFormatError(f"{self.uri}: the documents do not say which dataset of the file has the frames")
        return dataset

    def of_channel(self, channel: int | None) -> Resource:
        """The resource with one channel of each frame, counted from 1 as Xspress3's datums do."""
        if channel is None:
            return self
        return Resource(self.mimetype, self.uri, {**self.parameters, "slice": f":,{channel - 1}"})


@dataclass(frozen=True, slots=True)
class Datum:
    """The place of a frame that an old datum document tells of."""

    resource: str
    index: int
    channel: int | None


def stream_resource(document: Mapping[str, Any]) -> Resource:
    """A stream_resource, also one in the spelling before event-model 1.20. Raises ExternalFormatError."""
    if "mimetype" not in document:
        return resource(document)
    return _resource(document["mimetype"], document.get("uri"), document.get("parameters"), {})


def resource(document: Mapping[str, Any]) -> Resource:
    """An old resource. Raises ExternalFormatError for a spec that is not known."""
    spec = document.get("spec")
    if spec not in _SPECS:
        raise ExternalFormatError(
            f"resources of spec {spec!r} cannot be read here; the known are {', '.join(sorted(_SPECS))}"
        )
    mimetype, dataset = _SPECS[spec]
    path = _joined_path(str(document.get("root") or ""), str(document.get("resource_path") or ""))
    if mimetype == TIFF or spec == "AD_HDF5_SINGLE":
        # areaDetector's handlers append the file's name to a directory
        path = path.rstrip("/") + "/"
    found = _resource(mimetype, path, document.get("resource_kwargs"), {"dataset": dataset} if dataset else {})
    # nearly all have one frame per point, and data keys without an axis for it
    several = {name: value for name, value in found.parameters.items() if (name, value) != ("multiplier", 1)}
    return Resource(found.mimetype, found.uri, several)


def datum(document: Mapping[str, Any], position: int) -> Datum:
    """A datum. `position`: how many datums of its resource came before. Raises ExternalFormatError."""
    kwargs = document.get("datum_kwargs") or {}
    channel = kwargs.get("channel")
    named = [kwargs[name] for name in ("point_number", "index", "frame") if kwargs.get(name) is not None]
    if isinstance(indices := kwargs.get("indices"), Mapping):
        if indices.get("stop") != indices.get("start", 0) + 1:
            raise ExternalFormatError(f"datum {document.get('datum_id')!r} has several rows: {dict(indices)}")
        named.insert(0, indices["start"])
    index = named[0] if named else position
    if type(index) is not int or not (channel is None or type(channel) is int):
        raise ExternalFormatError(f"datum {document.get('datum_id')!r} says no frame: {dict(kwargs)}")
    return Datum(as_text(document.get("resource")), index, channel)


def _resource(mimetype: Any, uri: Any, parameters: Any, defaults: Mapping[str, Any]) -> Resource:
    if not isinstance(uri, str) or not isinstance(mimetype, str):
        raise ExternalFormatError(f"the resource has no mimetype or no URI: {mimetype!r}, {uri!r}")
    said = copy.deepcopy(dict(parameters)) if isinstance(parameters, Mapping) else {}
    # resources are compared with each other, which arrays do not allow
    said = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in said.items()}
    # older spellings
    for old, new in (("frame_per_point", "multiplier"), ("path", "dataset")):
        if old in said and (value := said.pop(old)):
            said[new] = value
    return Resource(mimetype, uri, {**defaults, **said})


def _joined_path(root: str, path: str) -> str:
    if not root:
        return path
    separator = "\\" if "\\" in root and "/" not in root else "/"
    return f"{root.rstrip(separator)}{separator}{path.lstrip(separator)}"

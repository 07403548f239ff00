"""The HDF5 file of a run, relative to the archive's root, from the start document."""

from __future__ import annotations

import datetime
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any, NoReturn

from ..names import run_uuid, ulid

DEFAULT_PATH_TEMPLATE = "{time:%Y/%m/%d}/{uid}.h5"

FILE_SUFFIXES = (".h5", ".hdf5", ".nxs")
_FIELD = re.compile(r"(?P<member>[^\[\].]+)(?P<nested>(?:\[[^\[\]]+\])*)")
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_ANY_UID = "00000000-0000-4000-8000-000000000000"
# file systems take 255, and something may be added to a name
_LONGEST_COMPONENT = 200
_NOTHING = "none"
# what formats of time could leave of a component
_NOWHERE = {"", ".", ".."}


@dataclass(slots=True)
class _Piece:
    """Part of a directory's or file's name. Values may be cut, but not below what stands for a missing one."""

    text: str
    is_value: bool = False


class PathTemplate:
    """Where the file of a run stands below the archive's root."""

    def __init__(self, template: str = DEFAULT_PATH_TEMPLATE) -> None:
        """`template`: as for `str.format`, with the members of the start document as fields.

        `{proposal[proposal_id]}` is a nested member, `{time:%Y/%m}` the start's time (UTC) in the spelling of
        strftime. `{uid}` must be there, at the beginning or end of the directory or file that bears it.

        Raises ValueError, saying what is wrong, for a template that cannot give every run its own file below the root.
        """
        self.template = template
        self._parts = list(_parsed(template))
        self._check()

    def __repr__(self) -> str:
        return f"PathTemplate({self.template!r})"

    def relative(self, start: Mapping[str, Any]) -> str:
        """The path of the run's file, with `/` between its components; never absolute, never climbing.

        A missing member becomes `none`. What no file may be called is replaced; a component has at most 200 bytes.
        """
        return "/".join(_shortened(component) for component in self._components(start))

    def _check(self) -> None:
        components = self._components({"uid": _ANY_UID})
        for component in components:
            texts = [piece.text for piece in component]
            if sum(map(_bytes, texts)) > _LONGEST_COMPONENT:
                _refuse(self.template, f"{''.join(texts)!r} is longer than {_LONGEST_COMPONENT} bytes")
        if all(map(_may_hide_uid, components)):
            _refuse(
                self.template,
                "with fields on both sides of {uid} two runs might share a file: put {uid} at the beginning or end of "
                "its directory or file name",
            )

    def _components(self, start: Mapping[str, Any]) -> list[list[_Piece]]:
        components: list[list[_Piece]] = [[]]
        for literal, field in self._parts:
            if field is not None and field.name != "time":
                components[-1].append(field.piece(start))
                continue
            first, *others = (_time(start, field.spec) if field is not None else literal).split("/")
            components[-1].append(_Piece(first))
            components += [[_Piece(other)] for other in others]
        return [component for component in components if "".join(piece.text for piece in component) not in _NOWHERE]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    path: tuple[str, ...]
    spec: str

    def piece(self, start: Mapping[str, Any]) -> _Piece:
        if self.name == "uid" and not self.spec:
            return _Piece(_uid(str(start["uid"])))
        value: Any = start
        for member in self.path:
            value = value.get(member) if isinstance(value, Mapping) else None
        return _Piece(_safe(_formatted(value, self.spec)) or _NOTHING, is_value=True)


def _parsed(template: str) -> Iterator[tuple[str, _Field | None]]:
    if not isinstance(template, str):
        _refuse(template, "it is no text")
    if template.startswith(("/", "~")) or PureWindowsPath(template).drive:
        _refuse(template, "it is absolute: give a path below the archive's root")
    if "\\" in template or not all(map(_visible, template)):
        _refuse(template, "it holds a backslash or a control character")
    if ".." in template:
        _refuse(template, "it holds '..'")
    if not template.endswith(FILE_SUFFIXES):
        _refuse(template, f"it does not end in {', '.join(FILE_SUFFIXES)}")
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        _refuse(template, str(error))
    fields = [None if name is None else _field(template, name, spec, how) for _, name, spec, how in parts]
    if not any(field is not None and field.name == "uid" and not field.spec for field in fields):
        _refuse(template, "{uid}, which gives every run its own file, is missing as a field of its own")
    for (literal, *_), field in zip(parts, fields, strict=True):
        yield literal, None
        if field is not None:
            yield "", field


def _field(template: str, name: str, spec: str | None, conversion: str | None) -> _Field:
    found = _FIELD.fullmatch(name)
    if found is None or found["member"].isdigit():
        _refuse(template, f"{{{name}}} is no member of a start document; write {{member}} or {{member[nested]}}")
    if conversion is not None or "{" in (spec or ""):
        _refuse(template, f"the field {name!r} has a conversion or a nested format, which is not known here")
    nested = re.findall(r"\[([^\[\]]+)\]", found["nested"])
    if nested and found["member"] in {"time", "uid"}:
        _refuse(template, f"{found['member']!r} of a start document has no members")
    return _Field(found["member"], (found["member"], *nested), spec or "")


def _may_hide_uid(component: list[_Piece]) -> bool:
    """Whether nobody can tell from the component where the uid begins."""
    places = [place for place, piece in enumerate(component) if piece.text == _ANY_UID and not piece.is_value]
    values = [place for place, piece in enumerate(component) if piece.is_value]
    return not places or (any(value < places[0] for value in values) and any(value > places[-1] for value in values))


def _refuse(template: Any, reason: str) -> NoReturn:
    raise ValueError(
        f"{template!r} cannot be the path_template: {reason}. An example: path_template={DEFAULT_PATH_TEMPLATE!r}"
    )


def _uid(uid: str) -> str:
    # the spelling of a ULID is never that of a UUID, so no two runs get one name, also where case does not count
    # a run whose uid holds a lone surrogate is not published, but nobody shall fail on it here
    identifier = run_uuid(uid.encode(errors="backslashreplace").decode())
    return uid if str(identifier) == uid else ulid(identifier)


def _time(start: Mapping[str, Any], spec: str) -> str:
    try:
        time = datetime.datetime.fromtimestamp(start["time"], datetime.UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        time = _EPOCH
    return "/".join(_safe(component) for component in format(time, spec).split("/"))


def _formatted(value: Any, spec: str) -> str:
    if not isinstance(value, str | int | float):
        return ""
    for form in (spec, ""):
        # another type than the template's author had in mind, or an integer of very many digits
        with suppress(ValueError, TypeError, OverflowError):
            return format(value, form)
    return ""


def _safe(text: str) -> str:
    """`text` as part of a name: no separator, nothing invisible, no dots before it, and no `~`."""
    kept = (char if char not in "/\\" and _visible(char) else "_" for char in text[:_LONGEST_COMPONENT])
    return "".join(kept).strip().lstrip(".~").strip()


def _visible(char: str) -> bool:
    # neither control nor format character, nor a lone surrogate
    return not unicodedata.category(char).startswith("C")


def _bytes(text: str) -> int:
    return len(text.encode())


def _shortened(component: list[_Piece]) -> str:
    excess = sum(_bytes(piece.text) for piece in component) - _LONGEST_COMPONENT
    for piece in reversed(component):
        size = _bytes(piece.text)
        if excess > 0 and piece.is_value and size > len(_NOTHING):
            kept = max(len(_NOTHING), size - excess)
            piece.text = piece.text.encode()[:kept].decode(errors="ignore")
            excess -= size - kept
    return "".join(piece.text for piece in component)

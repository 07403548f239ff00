"""At the door of the tree: writes and impossible requests are refused, errors get a status and a sentence."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocketException
from tiled.query_registration import default_query_registry
from tiled.server.authentication import get_api_key_websocket
from tiled.server.dependencies import get_root_tree
from tiled.server.settings import Settings, get_settings
from tiled.utils import BrokenLink

from ..errors import (
    BlissdataBlueskyError,
    DamagedRunError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalRefusedError,
    RowsTrimmedError,
    RunNotFoundError,
    StreamNotFoundError,
)
from .viewer import Viewer, current_viewer

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# long lists of columns do not fit into a URL
_READING_BY_POST = frozenset({"table", "container", "awkward"})
_INTEGERS = ("partition", "page[offset]", "page[cursor]", "page[limit]")
_FILTER = "filter["
# those of a 64-bit integer
_DIGITS = 18
_STATUS: dict[type[BlissdataBlueskyError], int] = {
    RunNotFoundError: 404,
    StreamNotFoundError: 404,
    RowsTrimmedError: 410,
    DamagedRunError: 422,
    ExternalRefusedError: 403,
    # of a 410, Tiled's client hides the sentence
    ExternalMissingError: 404,
    ExternalFormatError: 422,
}
# how Tiled says it, of all that is not found
_NO_ENTRY = "No such entry"
_LET_GO = (
    "A run that Redis has let go of, or that somebody deleted there, is on the list only if it is archived; "
    "`blissdata-bluesky register` lists a run whose file is in the archive."
)
# what Tiled itself says of data that are not there yet
_RETRY_AFTER = {"Retry-After": "1"}


def guarding_router() -> APIRouter:
    """A router without routes. Included in a Tiled app, it makes every request for the tree pass the guard."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.dependency_overrides[get_root_tree] = guarded_root
        app.dependency_overrides[get_api_key_websocket] = refuse_subscribing
        yield

    return APIRouter(lifespan=lifespan)


async def guarded_root(request: Request, settings: Settings = Depends(get_settings)) -> AsyncIterator[Any]:  # noqa: B008
    """The tree; while it is in use, adapters know the viewer, and what they raise becomes an answer."""
    viewer = Viewer.of(request, settings.response_bytesize_limit)
    _refuse_writing(request, viewer.route)
    _refuse_impossible(request)
    current_viewer.set(viewer)
    try:
        yield request.app.state.root_tree
    except BlissdataBlueskyError as error:
        raise as_answer(error) from error
    except HTTPException as error:
        if error.status_code != 404 or not str(error.detail).startswith(_NO_ENTRY):
            raise
        raise HTTPException(404, f"{error.detail}. {_LET_GO}") from error
    except BrokenLink as error:
        # Tiled answers it on the way to an entry only
        raise HTTPException(410, str(error)) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        wanted = request.query_params.get("format")
        if wanted is None:
            raise
        raise HTTPException(406, f"This data cannot be written as {wanted}: {error}") from error
    finally:
        viewer.answered()


async def refuse_subscribing() -> None:
    """Close the websocket of every subscription: there is no stream of changes, and Tiled fails in looking for one."""
    raise WebSocketException(1008, "This tree cannot be subscribed to: ask again for what is new.")


def as_answer(error: BlissdataBlueskyError) -> HTTPException:
    """The status and the sentence for an error of this package: 503 for what may work again later."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
    if isinstance(error, ExternalMissingError) and current_viewer.get().route == "zarr":
        # a chunk that is not found is full of zeros for a Zarr client
        status = 410
    return HTTPException(status, str(error), _RETRY_AFTER if status == 503 else None)


def _refuse_writing(request: Request, route: str) -> None:
    if request.method in _READING or (request.method == "POST" and route in _READING_BY_POST):
        return
    raise HTTPException(405, "This tree is read-only: runs are written by Bluesky, through BlissdataWriter.")


def _refuse_impossible(request: Request) -> None:
    query = request.query_params
    for name in _INTEGERS:
        if (value := query.get(name)) and len(value) > _DIGITS:
            raise HTTPException(400, f"{name}={value[:40]} is out of range.")
    for part in query.get("slice", "").split(","):
        if any(len(number) > _DIGITS for number in part.split(":")):
            raise HTTPException(400, f"slice={query['slice'][:80]} is out of range.")
        if _has_no_step(part):
            raise HTTPException(400, f"slice={query['slice'][:80]}: the step of a slice cannot be 0.")
    if any("\0" in value for _, value in query.multi_items()):
        raise HTTPException(400, "The query holds a NUL character.")
    _refuse_other_bodies(request)
    _refuse_filters(request)


def _refuse_other_bodies(request: Request) -> None:
    """Refuse a body that is not JSON; bytes would be repeated in the refusal, which is JSON."""
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, f"The columns are wanted as JSON, not as {kind[:80]}.")


def _has_no_step(part: str) -> bool:
    pieces = part.split(":")
    try:
        return len(pieces) == 3 and int(pieces[2] or 1) == 0
    except ValueError:
        return False


def _refuse_filters(request: Request) -> None:
    """Read each query as Tiled will; it answers 500 to those that cannot be read."""
    filters: dict[str, dict[str, list[str]]] = {}
    for name in request.query_params:
        if name.startswith(_FILTER):
            kind, _, field = name.removeprefix(_FILTER).removesuffix("]").partition("][condition][")
            filters.setdefault(kind, {})[field] = request.query_params.getlist(name)
    for kind, fields in filters.items():
        query_type = default_query_registry.name_to_query_type.get(kind)
        if query_type is None:
            raise HTTPException(
                400, f"{kind[:40]!r} is not a query; the server's front page lists those that it knows."
            )
        for values in zip(*fields.values(), strict=False):
            _refuse_unreadable(kind, query_type, dict(zip(fields, values, strict=True)))


def _refuse_unreadable(kind: str, query_type: Any, parameters: dict[str, str]) -> None:
    try:
        query_type.decode(**parameters)
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"The query {kind!r} has a value that is not JSON: {error}.") from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise HTTPException(400, f"The query {kind!r} cannot be read: {error}.") from error

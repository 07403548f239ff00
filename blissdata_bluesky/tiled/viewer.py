"""Who asks for what: the part of an HTTP request that adapters need, which Tiled does not hand to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.requests import Request
from tiled.server.utils import CSRF_COOKIE_NAME

# Tiled's own limit, for adapters that are used without a server
_BYTES_LIMIT = 300_000_000
_EXPECTED = "expected_shape"


@dataclass(frozen=True, slots=True)
class Viewer:
    """One request."""

    client: str | None = None
    """A cookie that Tiled gives to every client; None before it did, and for clients without cookies."""
    route: str = ""
    """What is asked for: `search`, `metadata`, `array`, `table`, `container`…"""
    path: tuple[str, ...] = ()
    """Of what is asked for, in the tree."""
    expected_shape: tuple[int, ...] | None = None
    """The shape that the client's copy of an array structure gives the answer."""
    block: int | None = None
    """The block along the first axis."""
    sliced: bool = False
    bytes_limit: int = _BYTES_LIMIT
    wanted: Hashable = ()
    """What is asked for, all but the expected shape: two requests that want the same have the same."""
    _followers: list[Callable[[], None]] = field(default_factory=list, compare=False, repr=False)

    def when_answered(self, call: Callable[[], None]) -> None:
        """Call it when the answer has been sent."""
        self._followers.append(call)

    def answered(self) -> None:
        """Tell those who wait for it."""
        for call in self._followers:
            call()

    @property
    def wants_array(self) -> bool:
        """Whether an array or a slice of it is asked for, not a block."""
        return self.route == "array" and self.block is None

    @classmethod
    def of(cls, request: Request, bytes_limit: int) -> Viewer:
        """The viewer behind a request."""
        query = request.query_params
        expected = query.get(_EXPECTED)
        blocks = _integers(query.get("block"))
        return cls(
            client=request.cookies.get(CSRF_COOKIE_NAME),
            route=_route(request),
            path=tuple(request.path_params.get("path", "").strip("/").split("/")),
            expected_shape=() if expected == "scalar" else _integers(expected),
            block=blocks[0] if blocks else None,
            sliced=bool(query.get("slice")),
            bytes_limit=bytes_limit,
            wanted=(request.url.path, *sorted(item for item in query.multi_items() if item[0] != _EXPECTED)),
        )


current_viewer: ContextVar[Viewer] = ContextVar("current_viewer", default=Viewer())  # noqa: B039


def _route(request: Request) -> str:
    # Tiled's Zarr routes do not say where they are
    if request.scope["path"].removeprefix(request.scope.get("root_path", "")).startswith("/zarr/"):
        return "zarr"
    path = getattr(request.scope.get("route"), "path", "")
    return next((part for part in path.split("/") if part not in ("", "api", "v1", "custom")), "")


def _integers(text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(map(int, text.split(","))) if text else None
    except ValueError:
        # Tiled refuses it itself
        return None

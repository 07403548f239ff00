"""A Tiled server of live and archived runs: in this thread, or on a thread of its own."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import uvicorn
from tiled.media_type_registration import CompressionRegistry
from tiled.server.app import build_app
from tiled.server.settings import Settings, get_settings

from ..errors import TiledServerError
from .tree import from_uri

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 3
_START_SECONDS = 60.0


class Served(uvicorn.Server):
    """uvicorn serving one tree; `on_start` is called with the port when requests are answered."""

    def __init__(self, app: Any, host: str, port: int, on_start: Callable[[int], None]) -> None:
        # the access log would show API keys, which browsers send in the URL
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                access_log=False,
                log_level="warning",
                lifespan="on",
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self._on_start = on_start

    async def startup(self, sockets: Any = None) -> None:
        """Start, and tell that it has started."""
        await super().startup(sockets)
        if self.started:
            self._on_start(self.servers[0].sockets[0].getsockname()[1])


def make_app(tree: Any, api_key: str, *, public: bool = False, compress: bool = False) -> Any:
    """An ASGI application that serves one tree to one user with one key.

    `public`: everybody may read without it. `compress`: as Tiled does by default; on one computer, it takes longer
    than the data itself.
    """
    app = build_app(tree, compression_registry=None if compress else CompressionRegistry())
    # Tiled keeps one object of settings per process: the key of a second server would become that of the first
    settings = Settings(single_user_api_key=api_key, allow_anonymous_access=public)
    app.dependency_overrides[get_settings] = lambda: settings
    return app


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server that listens there."""
    return host in ("localhost", "::1") or host.startswith("127.")


def new_api_key() -> str:
    """A key of the kind that Tiled accepts: letters and digits."""
    return secrets.token_hex(32)


class TiledServer:
    """A Tiled server on loopback, on a thread of this process, for notebooks, demos and tests; a context manager.

    Parameters
    ----------
    redis_url
        The Redis that `BlissdataWriter` writes to; None: archived runs are served alone.
    port
        0 picks a free one.
    api_key
        Letters and digits; None makes a new one.
    catalog
        Where the list of runs is kept; None: in the archive, without one in a temporary file.
    archive
        Directory of archived runs.
    roots
        Where files of detectors may be read: `external_roots` of `from_uri`.

    Raises TiledServerError when it does not start, and what `from_uri` raises.
    """

    def __init__(  # noqa: PLR0913 - the names that users know
        self,
        redis_url: str | None = None,
        port: int = 0,
        api_key: str | None = None,
        catalog: str | Path | None = None,
        archive: str | Path | None = None,
        *,
        roots: Iterable[str] | None = None,
    ) -> None:
        self.api_key = api_key or new_api_key()
        self.port = port
        self._started = threading.Event()
        app = make_app(from_uri(redis_url, archive, catalog, roots), self.api_key)
        self._server = Served(app, LOOPBACK, port, self._announce)
        self._thread = threading.Thread(target=self._serve, name="tiled-server", daemon=True)
        self._thread.start()
        try:
            self._started.wait(_START_SECONDS)
        except BaseException:
            # Ctrl-C while we wait
            self.close()
            raise
        if not self._server.started:
            self.close()
            raise TiledServerError(f"Tiled did not start on port {port} of {LOOPBACK}: the log says why")

    @property
    def url(self) -> str:
        """What `tiled.client.from_uri` takes, the key included."""
        return f"http://{LOOPBACK}:{self.port}/api/v1?api_key={self.api_key}"

    @property
    def browse_url(self) -> str:
        """What a web browser takes, the key included."""
        return f"http://{LOOPBACK}:{self.port}/ui/browse/?api_key={self.api_key}"

    def close(self) -> None:
        """Stop serving and wait for the end of the thread. May be repeated."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TiledServer http://{LOOPBACK}:{self.port}>"

    def _announce(self, port: int) -> None:
        self.port = port
        self._started.set()

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit as error:
            logger.error("Tiled ended with code %s", error.code)
        finally:
            self._started.set()

"""`RedisServer`: starts a Redis of its own on loopback and takes it down again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import redis

from ..connection import open_client
from ..errors import RedisServerStartError
from ..publish.database import connect
from . import guard
from .find import Installation, find_installation

HOST = "127.0.0.1"
# Below the ports that Linux and macOS hand out to clients: a client that retries on a port of that range can
# connect to itself and so keep the server from coming back on it.
PORTS = range(20_000, 32_000)
START_SECONDS = 60.0
# what else sits on the port may never answer
PROBE_SECONDS = 0.5
LOG_LINES = 8


class RedisServer:
    """A Redis server with the JSON and Search modules, on loopback, for as long as it is entered.

    When entered it answers and is initialised for blissdata. On exit, and also when this process is killed, it is
    stopped. `start` and `stop` do the same without a `with` block; a stopped server starts again on the same port.

    Parameters
    ----------
    port
        TCP port; 0 picks a free one, once: it stays the same over restarts.
    maxmemory
        Bound of the memory: bytes, or a number with a unit as Redis spells it ("256mb"). None: no bound.
    directory
        Where data and log are kept: the data is there again after a restart (append-only file, synced every
        second). None: nothing is persisted, every start is empty, a temporary directory is used and removed.
    executable, modules
        The server and the module files to load, in loading order. By default: the packages of the extra `server`,
        else a redis-server >= 8 or redis-stack-server on PATH.

    Raises
    ------
    RedisServerNotFoundError
        On start: nothing that could be started is installed.
    RedisServerStartError
        On start: the server died or did not answer; the message has the last lines of its log.
    RedisTargetError
        On start: the server runs but is of no use, for example without the modules.
    """

    def __init__(
        self,
        port: int = 0,
        maxmemory: int | str | None = None,
        directory: str | Path | None = None,
        executable: str | Path | None = None,
        modules: Sequence[str | Path] | None = None,
    ) -> None:
        self._port = port or free_port()
        self._maxmemory = maxmemory
        self._directory = None if directory is None else Path(directory).absolute()
        self._executable = executable
        self._modules = modules
        self._guard: subprocess.Popen[str] | None = None
        self._pid: int | None = None
        self._scratch = ""

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self._port

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server itself; None while it is stopped."""
        return self._pid

    def start(self) -> None:
        """Start the server and wait until it is ready; nothing happens when it already runs."""
        if self._guard is not None and self._guard.poll() is None:
            return
        self.stop()
        installation = find_installation(self._executable, self._modules)
        with self._open_log() as log:
            try:
                self._launch(self._command(installation, Path(log.name).parent), log)
                self._wait_until_ready()
            except BaseException as error:
                self.stop()
                if isinstance(error, _NotReadyError):
                    raise RedisServerStartError(self._failure(error, log)) from None
                raise

    def stop(self) -> None:
        """Stop the server and remove its temporary directory; nothing happens when it does not run."""
        if self._guard is not None:
            self._end(self._guard)
        if self._scratch:
            # the guard does so too, but it may have been killed
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._guard, self._pid, self._scratch = None, None, ""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has ended, for `timeout` seconds at most; return whether it has."""
        if self._guard is not None:
            with suppress(subprocess.TimeoutExpired):
                self._guard.wait(timeout)
        return self._guard is None or self._guard.returncode is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _open_log(self) -> IO[bytes]:
        """The log, in the directory of the server, which is made when it is missing."""
        try:
            if self._directory is None:
                self._scratch = tempfile.mkdtemp(prefix="blissdata-redis-")
            directory = self._directory or Path(self._scratch)
            directory.mkdir(parents=True, exist_ok=True)
            return (directory / "server.log").open("a+b")
        except OSError as error:
            place = self._directory or self._scratch or "a temporary directory"
            self.stop()
            raise RedisServerStartError(
                f"the Redis server cannot keep its files in {place} ({error.strerror}): "
                "give a directory that can be made and written to"
            ) from error

    def _command(self, installation: Installation, directory: Path) -> list[str]:
        options = {
            "port": str(self._port),
            "bind": HOST,
            "dir": str(directory),
            "save": "",
            "appendonly": "no" if self._directory is None else "yes",
            "maxmemory": str(self._maxmemory or 0),
            "maxmemory-policy": "noeviction",
        }
        command = [str(installation.executable)]
        for name, value in options.items():
            command += [f"--{name}", value]
        for module in installation.modules:
            command += ["--loadmodule", str(module)]
        return command

    def _launch(self, command: list[str], log: IO[bytes]) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), self._scratch, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C in a terminal is for this process: it may still have rows to send before the server ends
            start_new_session=True,
        )
        line = self._guard.stdout.readline() if self._guard.stdout else ""
        if not line:
            raise _NotReadyError("could not be executed")
        self._pid = int(line)

    def _end(self, running: subprocess.Popen[str]) -> None:
        with running:
            running.terminate()
            try:
                running.wait(2 * guard.STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if self._pid is not None:
                    os.kill(self._pid, signal.SIGKILL)
                running.kill()
        if running.returncode < 0:
            self._end_orphan()

    def _end_orphan(self) -> None:
        """End the server when its guard was killed and could not. No number of a process is trusted before it answers."""
        with open_client(self.url, socket_timeout=guard.STOP_SECONDS) as client:
            if self._answers(client):
                # it returns when the server has closed the connection, which it does last
                with suppress(redis.RedisError):
                    client.shutdown()
            if self._pid is not None and self._answers(client):
                os.kill(self._pid, signal.SIGKILL)

    def _wait_until_ready(self) -> None:
        with open_client(self.url, socket_timeout=PROBE_SECONDS) as client:
            deadline = time.monotonic() + START_SECONDS
            while not self._has_loaded(client):
                if self._guard is None or self._guard.poll() is not None:
                    raise _NotReadyError("ended")
                if time.monotonic() > deadline:
                    raise _NotReadyError(f"did not answer within {START_SECONDS:.0f} s")
                time.sleep(0.01)
        connect(self.url).close()

    def _answers(self, client: redis.Redis) -> bool:
        """Whether it is our server that answers: another one may sit on the port."""
        with suppress(redis.RedisError):
            return bool(client.info("server")["process_id"] == self._pid)
        return False

    def _has_loaded(self, client: redis.Redis) -> bool:
        """Whether it is our server and it has read its data: until then it refuses nearly every command."""
        with suppress(redis.RedisError):
            return self._answers(client) and not int(client.info("persistence")["loading"])
        return False

    def _failure(self, error: Exception, log: IO[bytes]) -> str:
        if not _is_free(self._port):
            return (
                f"the Redis server cannot listen on port {self._port} of {HOST} (Address already in use): "
                "give another port, or 0 for a free one"
            )
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        return (
            f"the Redis server for {self.url} {error}; does the directory hold its data? "
            f"The end of its log:\n" + "\n".join(lines)
        )


class _NotReadyError(Exception):
    """Why the server did not become ready."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 below those that clients are given, where nobody listens now.

    Raises RedisServerStartError.
    """
    # processes that seed `random` alike must not choose alike
    for port in random.SystemRandom().sample(PORTS, 100):
        if _is_free(port):
            return port
    raise RedisServerStartError(f"no free TCP port was found between {PORTS.start} and {PORTS.stop}; give one")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False

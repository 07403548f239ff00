"""Messages that may end or fill the process that reads them: each is read in one of its own, with little memory."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from typing import Any

from blissdata_bluesky.foreign import safe_repr
from blissdata_bluesky.listening import Serializer, deserializer
from blissdata_bluesky.packing import pack_document

SECONDS = 300
MOST_BYTES = 4 << 30
MOST_SECONDS = 60


def read_apart(serializer: Serializer, messages: dict[str, bytes]) -> dict[str, str]:
    """Name of each message -> the error, or `taken`, or how the process ended."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.harmful"],
        input=pickle.dumps((str(serializer), messages)),
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _read(serializer: Serializer, message: bytes) -> str:
    try:
        document: Any = deserializer(serializer)(message)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    pack_document("start", document)
    return f"taken: {safe_repr(document)[:1000]}"


def _read_in_a_child(serializer: Serializer, message: bytes) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        os.write(writer, _read(serializer, message).encode(errors="replace"))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    return said or f"ended with {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}"


def main() -> None:
    serializer, messages = pickle.load(sys.stdin.buffer)
    said = {name: _read_in_a_child(Serializer(serializer), message) for name, message in messages.items()}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()

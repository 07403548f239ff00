"""How runs, streams and keys of Bluesky are spelled where `/`, `:`, `?`, `#` and leading `_` mean something else."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# columns that every table of a stream has beside the data keys, and the node that holds the table
RESERVED = frozenset({"seq_num", "time", "timestamps", "irregular", "internal"})


def run_uuid(uid: str) -> uuid.UUID:
    """The run uid itself, or, for a uid that is no UUID in its usual spelling, its uuid5 (never two uids to one)."""
    try:
        parsed = uuid.UUID(uid)
    except ValueError:
        parsed = None
    return parsed if parsed is not None and str(parsed) == uid else uuid.uuid5(uuid.NAMESPACE_OID, uid)


def ulid(identifier: uuid.UUID) -> str:
    """The same 128 bits in the 26 characters of a ULID (Crockford's base 32)."""
    bits = identifier.int
    return "".join(_ULID_DIGITS[(bits >> shift) & 31] for shift in range(125, -1, -5))


def escape(name: str) -> str:
    """A name without `/`, `:`, `?`, `#`, control characters or a leading `_`, percent-encoded where it had them.

    Injective, and the identity on ordinary names. `urllib.parse.unquote` undoes it.
    """
    text = "".join(_percent(char) if char in "%/:?#" or ord(char) < 32 else char for char in name)
    return _escape_first(name) if not name or name[0] == "_" or name in {".", ".."} else text


def escape_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each data key of one stream with its escaped name; the names differ from each other and from `RESERVED`.

    `ts_<key>` is escaped where the stream also has `<key>`, whose timestamps bear that name in tables.
    """
    keys = list(keys)
    timestamps = {f"ts_{key}" for key in keys}
    return {key: _escape_first(key) if key in RESERVED or key in timestamps else escape(key) for key in keys}


def _escape_first(name: str) -> str:
    return _percent(name[0]) + _escape_tail(name[1:]) if name else "%"


def _escape_tail(text: str) -> str:
    """`text` escaped as the part of a name that is not its beginning."""
    return escape("x" + text)[1:]


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())

"""Who a run is at the ESRF: the identity of its scan, from the start document (DESIGN 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..foreign import in_64_bits, safe_text

IdentityRule: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def identity_from_start(start: Mapping[str, Any]) -> dict[str, Any]:
    """The members of blissdata's ESRFIdentityModel: strings or None, and `number`, an integer."""
    proposal = start.get("proposal")
    number = start.get("scan_id")
    return {
        "name": _text(start.get("plan_name")) or "run",
        "number": number if isinstance(number, int) and in_64_bits(number) else 0,
        "data_policy": "no_policy",
        "session": _text(start.get("beamline_id")) or "bluesky",
        "proposal": _text(proposal.get("proposal_id") if isinstance(proposal, Mapping) else None)
        or _text(start.get("data_session")),
        "collection": _text(start.get("sample_name")),
        "dataset": start["uid"],
        "path": None,
    }


def _text(value: Any) -> str | None:
    if not isinstance(value, str | int | float) or value == "":
        return None
    try:
        # a lone surrogate can be kept neither in the journal nor in Redis
        return safe_text(str(value))
    except ValueError:
        # an integer of very many digits
        return None

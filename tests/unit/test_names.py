"""Keys and uids: two never become one."""

from __future__ import annotations

import uuid
from urllib.parse import unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ulid import ULID

from blissdata_bluesky.names import RESERVED, escape, escape_keys, run_uuid, ulid

# names whose parts mean something to the rule
AWKWARD = st.text(st.sampled_from("%/:_.25FAx\n")) | st.sampled_from([*RESERVED, "ts_x", "x", "ts_ts_x"]) | st.text()


@given(st.uuids())
def test_ulid_is_the_spelling_of_the_reference(identifier: uuid.UUID) -> None:
    assert ulid(identifier) == str(ULID.from_uuid(identifier))


@given(st.uuids(), st.uuids())
def test_ulids_differ_where_uuids_do(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (ulid(one) == ulid(other)) == (one == other)


@pytest.mark.parametrize("uid", ["not-a-uuid", "", "{%s}" % uuid.UUID(int=5), uuid.UUID(int=5).hex, "ABCDEF00-" * 4])
def test_another_spelling_of_a_uuid_is_another_run(uid: str) -> None:
    assert run_uuid(uid) == uuid.uuid5(uuid.NAMESPACE_OID, uid)


def test_a_uuid_stands_for_itself() -> None:
    assert run_uuid(str(uuid.UUID(int=5))) == uuid.UUID(int=5)


@given(AWKWARD, AWKWARD)
@example("_a", "%5Fa")
def test_escaping_is_injective(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@given(AWKWARD)
def test_what_is_escaped_has_no_special_part_and_can_be_undone(name: str) -> None:
    escaped = escape(name)
    assert escaped and not set(escaped) & {"/", ":", "\n"} and escaped[0] != "_" and escaped not in {".", ".."}
    assume(name)
    assert unquote(escaped) == name


@given(st.text(st.characters(categories=["L", "N"], include_characters="-. ()"), min_size=1))
def test_ordinary_names_stay(name: str) -> None:
    assume(name not in {".", ".."})
    assert escape(name) == name


@given(st.sets(AWKWARD))
def test_the_names_of_a_streams_keys_differ_from_each_other_and_from_the_companions(keys: set[str]) -> None:
    names = escape_keys(keys)
    assert set(names) == keys and len(set(names.values())) == len(keys)
    assert not RESERVED & set(names.values())
    assert all(unquote(name) == key for key, name in names.items() if key)


@given(st.sets(AWKWARD))
def test_the_columns_of_timestamps_do_not_collide(keys: set[str]) -> None:
    names = escape_keys(keys).values()
    assert not {f"ts_{name}" for name in names} & set(names)

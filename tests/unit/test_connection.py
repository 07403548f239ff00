"""A password never shows, and a URL that redis-py would misread is refused."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.connection import open_client, redact, with_option
from blissdata_bluesky.errors import RedisURLError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379", "redis://localhost:6379"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://ann:secret@host:6379", "redis://ann@host:6379"),
        ("redis://:secret@host:6379", "redis://host:6379"),
        ("redis://ann:se@cret@host:6379", "redis://ann@host:6379"),
        ("redis://[::1]:6379", "redis://[::1]:6379"),
        ("rediss://host?password=secret&username=ann", "rediss://host?username=ann"),
        ("rediss://host?ssl_password=secret&ssl_cert_reqs=none", "rediss://host?ssl_cert_reqs=none"),
        ("unix://ann:secret@/run/redis.sock?db=0", "unix://ann@/run/redis.sock?db=0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("localhost:6379", "..."),
        ("redis://:sec/ret@host", "..."),
        ("redis://ann:12/secret@host", "..."),
        ("redis://:sec?ret@host", "..."),
        ("redis://:sec#ret@host", "..."),
        ("redis://:secret", "..."),
        ("ann:secret@host:6379", "..."),
        ("redis://[secret", "..."),
    ],
)
def test_redact_leaves_out_the_password(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_password_in_what_is_shown(text: str) -> None:
    # framed by letters that a URL holds nowhere else, so that one found is the password
    password = f"QQ{text}QQ"
    for spelling in (password, quote(password, safe="")):
        assert "QQ" not in redact(f"redis://ann:{spelling}@host:6379/0")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost:6379",
        "redis://localhost:port",
        "redis://localhost:66379",
        "redis://localhost:6379/zero",
        "redis://localhost:6379?db=zero",
        "redis://localhost:6379?no_such_option=1",
        "redis://",
        "redis://:6379",
        "unix://",
    ],
)
def test_an_unusable_url_is_refused_before_connecting(url: str) -> None:
    with pytest.raises(RedisURLError, match=r"is not a usable Redis URL.*write redis://"):
        open_client(url)


@pytest.mark.parametrize("url", ["redis://:secret", "redis://ann:sec/ret@host", "redis://h:1?password=secret&x=1"])
def test_an_error_does_not_quote_the_password(url: str) -> None:
    with pytest.raises(RedisURLError) as caught:
        open_client(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_option_is_set_once() -> None:
    assert with_option("unix:///run/redis.sock", "protocol", "2") == "unix:///run/redis.sock?protocol=2"
    assert with_option("redis://h:1?protocol=3&db=0", "protocol", "2") == "redis://h:1?db=0&protocol=2"

"""Which files may be read, and where they are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from blissdata_bluesky.errors import ExternalRefusedError, ExternalRootsError
from blissdata_bluesky.external import Roots
from blissdata_bluesky.external.roots import ROOTS_VARIABLE


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Directories with detectors' files, and one that nobody may read."""
    for name in ("data", "data/nested", "ioc", "secret"):
        (tmp_path / name).mkdir()
    for name in ("data/x.h5", "data/a b.h5", "data/nested/x.h5", "ioc/x.h5", "secret/x.h5"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "uri",
    [
        "{0}/data/x.h5",
        "file://localhost{0}/data/x.h5",
        "file://{0}/data/x.h5",
        "file:{0}/data/x.h5",
        "file://127.0.0.1{0}/data/x.h5",
        "FILE://LocalHost{0}/data/x.h5",
        "file://localhost/{0}/data/x.h5",
        "file://localhost{0}/data//./x.h5",
        "file://localhost{0}/d%61ta/x.h5",
        "file://localhost{0}/data%2Fx.h5",
        "{0}/data/nested/../x.h5",
    ],
)
def test_a_file_within_a_root(here: Path, uri: str) -> None:
    assert Roots.parse([f"{here}/data"]).resolve(uri.format(here)) == here / "data/x.h5"


def test_blanks_are_spelled_both_ways(here: Path) -> None:
    roots = Roots.parse([str(here)])
    assert roots.resolve(f"file://localhost{here}/data/a%20b.h5") == here / "data/a b.h5"
    assert roots.resolve(f"file://localhost{here}/data/a b.h5") == here / "data/a b.h5"
    # nobody encodes paths
    assert roots.resolve(f"{here}/data/a%20b.h5") == here / "data/a%20b.h5"


@pytest.mark.parametrize(
    "uri",
    [
        "{0}/secret/x.h5",
        "{0}/data/../secret/x.h5",
        "file://localhost{0}/data/../secret/x.h5",
        "file://localhost{0}/data/%2e%2e/secret/x.h5",
        "file://localhost{0}/data/%2E%2E%2Fsecret/x.h5",
        "file://localhost{0}/data/nested/../../secret/x.h5",
        "{0}/data2/x.h5",
        "{0}/dat",
        "{0}",
        "/",
        "{0}/other/../data/x.h5",
        "data/x.h5",
        "x.h5",
        "",
        "file:data/x.h5",
        "file://other-host{0}/data/x.h5",
        "//other-host{0}/data/x.h5",
        "\\\\host\\share\\x.h5",
        "\\\\.\\pipe\\x",
        "\\\\?\\C:\\x",
        "C:\\data\\x.h5",
        "C:data",
        "file:///C:/data/x.h5",
        "file://C:/data/x.h5",
        "file://host/share/x.h5",
        "file:////host/share/x.h5",
        "http://localhost{0}/data/x.h5",
        "https://host/x.h5",
        "s3://bucket/x.h5",
        "{0}/data/x.h5\0.tif",
        "file://localhost{0}/data/x.h5%00",
        "{0}/data/\ud800",
    ],
)
def test_nothing_outside_the_roots(here: Path, uri: str) -> None:
    roots = Roots.parse([f"{here}/data"])
    with pytest.raises(ExternalRefusedError) as caught:
        roots.resolve(uri.format(here))
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "s3", "sqlite"])
def test_other_schemes_are_refused_by_name(scheme: str) -> None:
    with pytest.raises(ExternalRefusedError, match=f"{scheme}: cannot be read; only files can"):
        Roots.parse(["/"]).resolve(f"{scheme}://host/data/x.h5")


def test_links_are_followed_within_the_roots_only(here: Path) -> None:
    (here / "data/out.h5").symlink_to(here / "secret/x.h5")
    (here / "data/outdoors").symlink_to(here / "secret")
    (here / "data/in.h5").symlink_to("nested/x.h5")
    (here / "data/ioc.h5").symlink_to(here / "ioc/x.h5")
    (here / "data/circle").symlink_to("circle")
    roots = Roots.parse([f"{here}/data", f"{here}/ioc"])
    assert roots.resolve(f"{here}/data/in.h5") == here / "data/nested/x.h5"
    assert roots.resolve(f"{here}/data/ioc.h5") == here / "ioc/x.h5", "another root"
    for name in ("out.h5", "outdoors/x.h5", "circle", "outdoors/../data/x.h5/../../secret/x.h5"):
        with pytest.raises(ExternalRefusedError):
            roots.resolve(f"{here}/data/{name}")


def test_a_root_may_be_a_link(here: Path) -> None:
    (here / "alias").symlink_to("data")
    assert Roots.parse([f"{here}/alias"]).resolve(f"{here}/alias/x.h5") == here / "data/x.h5"


@pytest.mark.parametrize(
    ("entry", "uri"),
    [
        ("/det/data={0}", "file://localhost/det/data/x.h5"),
        ("/det/data/={0}/", "/det/data/x.h5"),
        ("file:///det/data={0}", "/det/data/x.h5"),
        ("C:\\det={0}", "file:///C:/det/x.h5"),
        ("C:\\det={0}", "file://localhost/c:/DET/x.h5"),
        ("C:\\det={0}", "c:\\Det\\x.h5"),
        ("c:/det={0}", "C:/det\\x.h5"),
        ("C:\\={0}", "C:\\x.h5"),
        ("file:///C:/det={0}", "file://C:/det/x.h5"),
        ("\\\\Host\\share={0}", "file://host/share/x.h5"),
        ("\\\\host\\share={0}", "\\\\HOST\\Share\\x.h5"),
        ("\\\\host\\share={0}", "file:////host/share/x.h5"),
        ("//host/share={0}", "\\\\host\\share\\x.h5"),
        ("file://det-host/data={0}", "file://DET-HOST/data/x.h5"),
        ("/run=5/data={0}", "/run=5/data/x.h5"),
    ],
)
def test_the_detectors_paths_are_mapped(here: Path, entry: str, uri: str) -> None:
    roots = Roots.parse([entry.format(here / "data")])
    assert roots.resolve(uri) == here / "data/x.h5"
    with pytest.raises(ExternalRefusedError):
        roots.resolve(uri.replace("x.h5", "../secret/x.h5"))


def test_case_counts_where_it_counts_there() -> None:
    with pytest.raises(ExternalRefusedError):
        Roots.parse(["/det=/mnt"]).resolve("/DET/x.h5")


def test_the_longest_path_wins(here: Path) -> None:
    roots = Roots.parse([f"/det={here}/data", f"/det/ioc={here}/ioc", f"/={here}/secret"])
    assert roots.resolve("/det/x.h5") == here / "data/x.h5"
    assert roots.resolve("/det/ioc/x.h5") == here / "ioc/x.h5"
    assert roots.resolve("/detector/x.h5") == here / "secret/detector/x.h5"


def test_the_whole_disk_if_somebody_wants_it(here: Path) -> None:
    assert Roots.parse(["/"]).resolve(f"file://{here}/secret/x.h5") == here / "secret/x.h5"


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "data",
        "./data",
        "C:\\det",
        "\\\\host\\share",
        "file://host/data",
        "http://x/y=/mnt",
        "/a/../b",
        "/a=/b\0",
        "/a/b\0",
    ],
)
def test_what_is_no_root_is_said(entry: str) -> None:
    with pytest.raises(ExternalRootsError) as caught:
        Roots.parse([entry])
    assert repr(entry) in str(caught.value)


@pytest.mark.parametrize("entries", [["/a=/x", "/a=/y"], ["C:\\a=/x", "c:/A=/y"], ["/a", "/a/"]])
def test_one_path_is_one_directory(entries: list[str]) -> None:
    with pytest.raises(ExternalRootsError, match="stands twice"):
        Roots.parse(entries)


def test_the_environment_says_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOTS_VARIABLE, raising=False)
    with pytest.raises(ExternalRefusedError, match=f"list its directory in {ROOTS_VARIABLE} or with --external-root"):
        Roots.configured().resolve(f"{here}/data/x.h5")
    monkeypatch.setenv(ROOTS_VARIABLE, f"{here}/data ; C:\\det={here}/ioc;")
    assert Roots.configured().resolve(f"{here}/data/x.h5") == here / "data/x.h5"
    assert Roots.configured().resolve("C:\\det\\x.h5") == here / "ioc/x.h5"


def test_a_refusal_says_what_to_write(here: Path) -> None:
    with pytest.raises(ExternalRefusedError, match=r"as file://host/share=/its/directory/here"):
        Roots.parse([str(here)]).resolve("\\\\host\\share\\x.h5")
    with pytest.raises(ExternalRefusedError, match=r"as C:/det=/its/directory/here"):
        Roots.parse([str(here)]).resolve("c:\\det\\x.h5")


def test_the_directory_is_looked_at_each_time(here: Path) -> None:
    """A disk that is mounted later, a link that is changed."""
    roots = Roots.parse([f"/det={here}/mount"])
    (here / "mount").symlink_to("data")
    assert roots.resolve("/det/x.h5") == here / "data/x.h5"
    (here / "mount").unlink()
    (here / "mount").symlink_to("ioc")
    assert roots.resolve("/det/x.h5") == here / "ioc/x.h5"

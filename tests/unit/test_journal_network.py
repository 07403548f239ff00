"""Which mounts lie on another computer, from the text of /proc/self/mountinfo."""

from __future__ import annotations

from pathlib import Path

import pytest

from blissdata_bluesky.journal import JournalDirectory
from blissdata_bluesky.journal import directory as directory_module
from blissdata_bluesky.journal.network import network_file_system

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


def mount(point: str, kind: str, source: str = "server:/export") -> str:
    return f"40 22 0:45 / {point} rw,nosuid shared:7 master:1 - {kind} {source} rw,vers=4.2"


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph", "fuse.glusterfs", "9p"]
)
def test_a_network_file_system_is_named(mounts: Path, kind: str) -> None:
    mounts.write_text(f"{ROOT}\n{mount('/data', kind)}\n")
    assert network_file_system(Path("/data/journal"), mounts) == kind
    assert network_file_system(Path("/data"), mounts) == kind
    assert network_file_system(Path("/database"), mounts) == ""


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "vfat", "fuse.ntfs-3g"])
def test_a_local_one_is_not(mounts: Path, kind: str) -> None:
    mounts.write_text(f"{ROOT}\n{mount('/data', kind, '/dev/sdb1')}\n")
    assert network_file_system(Path("/data/journal"), mounts) == ""


@pytest.mark.parametrize("turned", [False, True])
def test_the_deepest_mount_counts(mounts: Path, turned: bool) -> None:
    lines = [ROOT, mount("/data", "nfs4"), mount("/data/local", "ext4", "/dev/sdb1"), mount("/data/local/far", "cifs")]
    mounts.write_text("\n".join(reversed(lines) if turned else lines))
    found = {
        path: network_file_system(Path(path), mounts) for path in ("/data/x", "/data/local/x", "/data/local/far/x")
    }
    assert found == {"/data/x": "nfs4", "/data/local/x": "", "/data/local/far/x": "cifs"}


def test_of_two_mounts_on_one_point_the_later_one_is_seen(mounts: Path) -> None:
    mounts.write_text("\n".join([ROOT, mount("/data", "autofs", "auto"), mount("/data", "nfs4")]))
    assert network_file_system(Path("/data/journal"), mounts) == "nfs4"


def test_blanks_in_a_mount_point(mounts: Path) -> None:
    mounts.write_text("\n".join([ROOT, mount(r"/mnt/my\040disk", "nfs4")]))
    assert network_file_system(Path("/mnt/my disk/journal"), mounts) == "nfs4"
    assert network_file_system(Path("/mnt/my"), mounts) == ""


def test_a_source_that_looks_like_one_says_nothing(mounts: Path) -> None:
    mounts.write_text(f"{ROOT}\n{mount('/data', 'ext4', 'nfs - cifs')}\n")
    assert network_file_system(Path("/data/journal"), mounts) == ""


def test_a_link_is_followed(mounts: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "near").symlink_to(far)
    mounts.write_text("\n".join([ROOT, mount(str(far), "nfs4")]))
    assert network_file_system(tmp_path / "near" / "journal", mounts) == "nfs4"


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_system_that_does_not_tell(mounts: Path, content: bytes) -> None:
    assert network_file_system(Path("/data"), mounts) == ""
    mounts.write_bytes(content.strip())
    assert network_file_system(Path("/data"), mounts) == ""


def test_names_that_are_no_text(mounts: Path) -> None:
    mounts.write_bytes(f"{ROOT}\n".encode() + b"40 22 0:45 / /d\xff rw - nfs4 x rw\n")
    assert network_file_system(Path("/data"), mounts) == ""


def test_this_system_is_read() -> None:
    assert isinstance(network_file_system(Path("/")), str)


def test_one_warning_names_the_directory_and_the_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("\n".join([ROOT, mount(str(tmp_path), "nfs4")]))
    monkeypatch.setattr(directory_module, "network_file_system", lambda path: network_file_system(path, mounts))
    JournalDirectory(tmp_path / "journal").warn_if_remote()
    [message] = caplog.messages
    assert "nfs4" in message and str(tmp_path) in message

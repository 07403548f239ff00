"""Whether a directory lies on another computer."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs|cifs|smb|afs|gpfs|lustre|beegfs|ceph|glusterfs|pvfs|orangefs|9p|sshfs|davfs|ocfs|gfs2|fhgfs|panfs"
)


def network_file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """The kind of network file system that `path` lies on; "" when it is local, or the system does not tell."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    path = path.resolve()
    deepest, kind = -1, ""
    for line in lines:
        # proc(5): … 4 mount point … "-" type source options; blanks are written \040
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace(r"\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), after.split()[0]
    return kind if _NETWORK.search(kind) else ""

"""What a Bluesky run means as a blissdata scan: documents in, operations out. No Redis, no file, no clock."""

from .identity import IdentityRule, identity_from_start
from .operations import (
    AddDocument,
    AppendRows,
    ChangeState,
    ColumnRows,
    CreateScan,
    DeclareStreams,
    Operation,
    StreamDeclaration,
)
from .run import RunMapper

__all__ = [
    "AddDocument",
    "AppendRows",
    "ChangeState",
    "ColumnRows",
    "CreateScan",
    "DeclareStreams",
    "IdentityRule",
    "Operation",
    "RunMapper",
    "StreamDeclaration",
    "identity_from_start",
]

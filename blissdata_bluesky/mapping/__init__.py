"""What a Bluesky run means as a blissdata scan: documents in, operations out. No Redis, no file, no clock."""

from .file_path import DEFAULT_PATH_TEMPLATE, FILE_SUFFIXES, PathTemplate
from .identity import IdentityRule, identity_from_start
from .links import located
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
from .streams import is_array

__all__ = [
    "DEFAULT_PATH_TEMPLATE",
    "FILE_SUFFIXES",
    "AddDocument",
    "AppendRows",
    "ChangeState",
    "ColumnRows",
    "CreateScan",
    "DeclareStreams",
    "IdentityRule",
    "Operation",
    "PathTemplate",
    "RunMapper",
    "StreamDeclaration",
    "identity_from_start",
    "is_array",
    "located",
]

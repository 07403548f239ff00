"""The list of runs: Tiled's SQL catalog with one node per run; what is inside a run comes from a callable."""

from .catalog import Catalog
from .clean import clean, clean_mapping
from .database import catalog_of
from .faults import without_password
from .registrar import Registrar
from .registration import ARCHIVED_MIMETYPE, MIMETYPE, Registration

__all__ = [
    "ARCHIVED_MIMETYPE",
    "MIMETYPE",
    "Catalog",
    "Registrar",
    "Registration",
    "catalog_of",
    "clean",
    "clean_mapping",
    "without_password",
]

"""The list of runs: Tiled's SQL catalog with one node per run; what is inside a run comes from a callable."""

from .catalog import MIMETYPE, Catalog, Registration
from .clean import clean, clean_mapping

__all__ = ["MIMETYPE", "Catalog", "Registration", "clean", "clean_mapping"]

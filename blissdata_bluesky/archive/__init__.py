"""Archived runs: one NeXus/HDF5 file each, written from the journal; the format is known here and nowhere else."""

from .reading import ArchivedFile, FileSpan, FileView

__all__ = ["ArchivedFile", "FileSpan", "FileView"]

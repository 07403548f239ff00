"""Journals with a flipped bit, as a failing disk or memory leaves them."""

from __future__ import annotations

from pathlib import Path

from blissdata_bluesky.journal import JournalReader


def ends(journal: Path) -> list[int]:
    """Where the header ends, and each document behind it."""
    with JournalReader(journal) as reader:
        return [reader.begin, *(offset for offset, _ in reader.records(reader.begin))]


def flip_bit(journal: Path, at: int) -> None:
    """Change one bit of the byte `at`; the time of the last change stays, as the file system knows nothing of it."""
    with journal.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def damage(journal: Path, document: int) -> int:
    """Damage one document, 0 is the start; up to which byte the journal is whole then."""
    begin, end = ends(journal)[document : document + 2]
    flip_bit(journal, (begin + end) // 2)
    return begin

"""Saying what happens to somebody who may have gone."""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Teller:
    """Prints lines, as long as that works: that nobody reads them any more is no reason to end."""

    def __init__(self, tell: Callable[[str], object], about: str) -> None:
        """`tell`: prints a line. `about`: of the one warning, what is lost and what goes on."""
        self._tell = tell
        self._about = about
        self._told = False

    def __call__(self, line: str) -> None:
        """Print a line, if it can be."""
        try:
            self._tell(line)
        except (OSError, ValueError) as error:
            # a full disk, a pipe that nobody reads any more, text that the terminal does not know
            if not self._told:
                self._told = True
                logger.warning("%s (%s)", self._about, error)

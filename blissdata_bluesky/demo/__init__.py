"""The demo: real plans, published live, and read by blissdata and Tiled clients in a second process while they run."""

from .board import Board
from .screen import LiveScreen, PlainScreen, table
from .show import show

__all__ = ["Board", "LiveScreen", "PlainScreen", "show", "table"]

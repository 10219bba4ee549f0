"""The taxonomy as a picture: which unit gets the credit, and how it is computed."""

from .write import KINDS, draw, write_figure

__all__ = ["KINDS", "draw", "write_figure"]

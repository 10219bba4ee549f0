"""The taxonomy as a picture: which unit gets the credit, and how it is computed."""

from .write import KINDS, LABELS, draw, write_figure

__all__ = ["KINDS", "LABELS", "draw", "write_figure"]

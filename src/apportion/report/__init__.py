"""The HTML report, its summary for the terminal, and the trajectory lens."""

from .html import write_report
from .lens import write_lens
from .summary import leaderboard_table, sentence, summarise

__all__ = ["leaderboard_table", "sentence", "summarise", "write_lens", "write_report"]

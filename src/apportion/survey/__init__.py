"""The literature as data: one record per paper, joined with the methods by id.

>>> import apportion as ap
>>> ap.survey.papers(granularity="turn", setting="agentic", needs="none")
"""

from .query import QueryError, find, papers
from .records import Record, RecordError, load, record, records

__all__ = ["QueryError", "Record", "RecordError", "find", "load", "papers", "record", "records"]

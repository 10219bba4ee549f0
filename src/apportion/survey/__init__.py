"""The literature as data: one record per paper, joined with the methods by id."""

from .records import Record, RecordError, load, record, records

__all__ = ["Record", "RecordError", "load", "record", "records"]

"""The inventory as one static page: search, filters, sorting, every claim of a record; offline."""

from .build import site_html, write_site

__all__ = ["site_html", "write_site"]

"""Reporting: all that a run found, as one JSON document and as one page."""

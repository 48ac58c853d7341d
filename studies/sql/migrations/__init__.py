"""Alembic's migrations of our tables, one step from each revision to the next.

A new step is a file in `versions` that names the one before it; `tests/studies/sql/test_schema.py` holds the tables
that all steps make against those of `studies.sql.tables`. A step that has been released is never changed.
"""

"""Turns what a run found into what people read: tables and sentences. A pure function of the documents.

Does: rich tables for a terminal. Does not: measure, decide, or read anything but the document it is given.
Start reading at: `text.py`.
"""

"""Turns what a run found into what people read: tables, sentences, a page. A pure function of the documents.

Does: rich tables for a terminal; the page of a study, with its charts and the rules that say why it is no faster
(`why/`, one a file). Does not: measure, decide, or read anything but the document it is given.
Start reading at: `text.py`; for the page `page.py`, then `sections/`.
"""

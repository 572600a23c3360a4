"""The sections of the page, one a file: each turns a record into what its part of the template shows, or None.

Does: chooses words, numbers and charts. Does not: write HTML, beyond the charts.
Start reading at: `verdict.py`.
"""

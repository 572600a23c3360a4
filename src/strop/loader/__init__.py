"""The bundle as a file: checked, mapped, handed out member by member.

Does: read the `.strop` format (`format.py` describes it), refuse what is damaged or not for this machine, say which
ISA levels this CPU has.
Does not: run a model (runtime hands bundles to engines), write bundles (runtime), import more than numpy.
Start reading at: `format.py`, then `bundle.py`.
"""

from strop.loader.bundle import Bundle, is_fully_native, open_bundle

__all__ = ["Bundle", "is_fully_native", "open_bundle"]

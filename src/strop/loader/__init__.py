"""Bundles and images: checked, mapped, and, where they hold machine code, run.

Does: read the `.strop` format (`format.py` describes it), refuse what is damaged or not for this machine, say which
ISA levels this CPU has; map an image's code, keep its memory and threads, take its calls.
Does not: make code (compiler), run what is not native (runtime hands that to engines), write bundles (runtime), import
more than numpy.
Start reading at: `bundle.py` for the file; `native.py` for running, then `structs.py`, what it shares with the code.
"""

from strop.loader.bundle import Bundle, is_fully_native, open_bundle

__all__ = ["Bundle", "is_fully_native", "open_bundle"]

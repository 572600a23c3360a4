"""The kernels, one family a file: what it computes, what it accepts, how it is scheduled and emitted.

Does: say what a kernel accepts and needs, list its schedules, pack its weights, emit its code; numpy references.
Does not: choose (`choose.py`), place values in memory (`layout.py`, `memory.py`), compile (`machine_code.py`).
Start reading at: `contract.py`, then `convolution.py`.
"""

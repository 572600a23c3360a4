"""Tasks on real models for `strop optimize --task benchmarks/tasks/FILE.py:NAME`; data from the folder `STROP_ZOO`."""

"""Deployment: models packed into bundles, bundles loaded and run.

Does: write a bundle whole or not at all, load one with the engine it was measured with, test that it still gives what
it gave, run it over a file of inputs.
Does not: read the file's format (loader), compile or run a model itself (engines), choose what goes in (optimize).
Start reading at: `bundle.write_bundle`, then `load.load`.
"""

"""Where samples come from, one kind a file.

Does: reads arrays, images, users' files and objects in memory, sample by sample, in a fixed order.
Does not: check samples against a model (form.py), or match labels with samples (data.py), except
where labels name files.
Start reading at: contract.py.
"""

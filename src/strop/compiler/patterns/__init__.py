"""Several nodes that are one operation: what exporters take apart, found again in the graph.

Does: find forms of activations and normalizations that consist of many nodes, and lower each as one operation.
Does not: change the graph; nodes stay what they are for whoever runs them otherwise.
Start reading at: find.py.
"""

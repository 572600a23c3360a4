"""Charts as SVG, drawn by us: marks at percentages of the width, so that text keeps its size on any screen.

Does: intervals, densities, bars, a curve. Does not: know what a study is; load anything; style (the page's CSS does).
Start reading at: `intervals.py`.
"""

"""Why a model is not faster than it is: one rule a file, each with the figures of the study that back it.

Does: looks at a record, says what holds the speed back or what a gain costs, and what would change it. Does not: guess;
a rule without its figures says nothing. Start reading at: `rules.py`.
"""

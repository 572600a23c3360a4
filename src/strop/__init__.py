"""Strop takes a trained neural network and gives back its fastest deployable form, with the evidence."""

__version__ = "0.1.0"

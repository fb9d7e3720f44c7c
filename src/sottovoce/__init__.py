"""Sottovoce: teach a large audio language model a product's intents and slots with very little labelled speech."""

__version__ = "0.1.0"

"""The embedded model's class. Its files import nothing from sottovoce: they are saved with the weights."""

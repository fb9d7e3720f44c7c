"""The embedded model's class. Its files import nothing of sottovoce: they are saved beside weights."""

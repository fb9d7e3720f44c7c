"""The embedded model's class. Its files but the family's import nothing of sottovoce: they are saved beside weights."""

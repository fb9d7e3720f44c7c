"""The names of the files in a trained stage's folder."""

WEIGHTS = "weights"  # a folder
DONE = "done.json"  # written last: how it went
HISTORY = "history.json"  # the training log, and the evaluations on dev
DIVERGED = "diverged.json"  # the training log of a stage whose loss stopped being finite

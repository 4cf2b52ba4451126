"""EVALUATE: how well a model finds the true next chunk, and what the figure is worth."""

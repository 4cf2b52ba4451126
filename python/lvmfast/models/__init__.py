"""Next-vector models: the embedding of the next chunk from the window before it. `build.py` makes them.

`registry.py`, `config.py` and `baselines.py` load no torch; everything else here does, so it is imported
where it is needed.
"""

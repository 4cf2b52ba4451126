"""TRAIN: next-vector models, on splits proven clean."""

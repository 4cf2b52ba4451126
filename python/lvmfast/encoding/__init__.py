"""From texts to vectors: a sentence encoder, what it makes of a split, and where that is kept."""

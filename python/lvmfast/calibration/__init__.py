"""Which cosine separates duplicates from unrelated texts, for an encoder and a pair of sets."""

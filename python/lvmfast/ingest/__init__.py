"""INGEST: a dump becomes articles, chunks, embeddings, sequences, and a proof that they are fresh."""

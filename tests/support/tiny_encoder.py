"""A sentence encoder of random weights, small enough to be made in a second and run anywhere."""

from __future__ import annotations

from pathlib import Path


def make_tiny_encoder(folder: Path, seed: int = 0, dim: int = 32) -> Path:
    """Saves a one-layer BERT with mean pooling, whose tokens are characters."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert = folder / "bert"
    bert.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (bert / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    BertTokenizerFast(str(bert / "vocab.txt")).save_pretrained(bert)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=dim,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=dim,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=512)
    pooling = Pooling(dim)
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "encoder"))
    return folder / "encoder"

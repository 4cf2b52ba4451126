"""The sentence encoder, and what identifies it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Vectors
from lvmfast.errors import DataError, missing_extra

#: The hub answers so fast, or is taken not to be there.
_HUB_SECONDS = 10.0


class Encoder:
    """A sentence-transformers model, from a local folder or by its name on the model hub.

    Raises:
        DataError: sentence-transformers is not installed, there is no such model, or no such device.
    """

    def __init__(
        self, name: str, *, device: str | None = None, bf16: bool = False, batch_size: int = 64
    ) -> None:
        """Loads the weights: this takes seconds."""
        if name.startswith((".", "/", "~")) and not os.path.isdir(os.path.expanduser(name)):
            raise DataError(f"{name}: no such folder: expected an encoder's folder or its name on the hub")
        try:
            import torch
            import transformers
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise missing_extra("embedding", "encode", error) from error
        folder = os.path.expanduser(name)
        here = os.path.isdir(folder)
        kept = not here and _is_kept(name)
        transformers.utils.logging.disable_progress_bar()
        try:
            self._model = SentenceTransformer(
                folder if here else name, device=device, local_files_only=here or kept
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{name}: cannot be loaded as an encoder: {reason}") from error
        self.name = name
        self.bf16 = bf16
        self.batch_size = batch_size
        if bf16:
            self._model = self._model.to(torch.bfloat16)

    @cached_property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.encode(["dimension"]).shape[1])

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._model.device)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(tensor.nbytes for tensor in self._model.state_dict().values())

    @property
    def window(self) -> int | None:
        """Tokens that it reads of a text; what is behind is not seen."""
        length = self._model.max_seq_length
        return int(length) if length else None

    @cached_property
    def special_tokens(self) -> int:
        """Places of the window that marks at both ends take."""
        return int(self._model.tokenizer.num_special_tokens_to_add(pair=False))

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How long each text is in tokens, the special ones not counted."""
        encoded = self._model.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of unit length, (n, dim) float32, normalised once, in float64.

        sentence-transformers sorts the texts by length, so that a batch has little padding.
        """
        raw = self._model.encode(
            list(texts),
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=False,
        )
        rows = np.asarray(raw, np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1.0), np.float32)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What is stored beside vectors, so that those of two encoders are never mixed."""
        return {
            "embedder_id": Path(self.name).name
            if os.path.isdir(os.path.expanduser(self.name))
            else self.name,
            "weights": self._weights(),
            "configuration": self._configuration(),
            "dim": self.dim,
            "norm": "l2_once",
            "metric": "ip",
            "dtype": "bfloat16" if self.bf16 else "float32",
            "max_tokens": self.window,
            "libraries": {name: version(name) for name in ("sentence-transformers", "transformers", "torch")},
        }

    def _weights(self) -> str:
        """A hash over names, shapes and values of all parameters: the same for any file they came from."""
        import hashlib

        import torch

        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return f"blake2b:{digest.hexdigest()}"

    def _configuration(self) -> str:
        """A hash over what else decides vectors: pooling, the window, prompts, and the tokenizer."""
        import hashlib

        tokenizer = self._model.tokenizer
        fast = getattr(tokenizer, "backend_tokenizer", None)
        tokens = tokenizer.get_vocab() if fast is None else json.loads(fast.to_str())
        for of_last_call in ("truncation", "padding"):
            tokens.pop(of_last_call, None)
        prompts = self._model.prompts, self._model.default_prompt_name
        said = f"{self._model!r}\0{prompts!r}\0{json.dumps(tokens, sort_keys=True)}"
        return f"blake2b:{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}"


def _is_kept(name: str) -> bool:
    """Whether a model of the hub is kept on this machine; if not, the hub is asked once whether it has it.

    Raises:
        DataError: neither.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        if isinstance(try_to_load_from_cache(name, "modules.json"), str):
            return True
        HfApi().model_info(name, timeout=_HUB_SECONDS)
    except Exception as error:  # of whatever library it asks the network with
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"{name}: no folder of that name here, and the model hub does not give it ({reason}); "
            "give the folder of a sentence-transformers model, or a name on the hub that can be reached"
        ) from error
    return False

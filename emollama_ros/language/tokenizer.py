"""Text to tokens and back, and the tokenizer file made from a GGUF's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from emollama_ros.errors import BundleError

#: GGUF token types; a control token (3) must never be produced by ordinary text.
_CONTROL = 3


class Tokenizer:
    """Byte-level BPE. Ordinary text never yields a control token, whatever it contains."""

    def __init__(self, backend: Any) -> None:
        """Wrap a ``tokenizers.Tokenizer``."""
        backend.encode_special_tokens = True
        self._backend = backend
        self.encode = lru_cache(maxsize=4096)(self._encode)

    @staticmethod
    def load(path: Path) -> Tokenizer:
        """Read ``tokenizer.json``.

        Raises:
            BundleError: It is missing or damaged.
        """
        import tokenizers

        try:
            return Tokenizer(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # the Rust binding raises bare Exception
            raise BundleError(f"{path}: not a tokenizer ({error}); assemble the bundle again") from error

    def _encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of ordinary text; what looks like a control token is split into characters."""
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_prompt(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a prompt, in which control words are control tokens.

        Only for text that we wrote; what others said must have gone through ``templates.as_data``. One thread
        at a time.
        """
        self._backend.encode_special_tokens = False
        try:
            return self._encode(text)
        finally:
            self._backend.encode_special_tokens = True

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; control tokens are left out."""
        return str(self._backend.decode(list(tokens), skip_special_tokens=True))

    def control(self, content: str) -> int:
        """Return the id of a control token such as ``<|im_end|>``.

        Raises:
            BundleError: The vocabulary has no such token.
        """
        found = self._backend.token_to_id(content)
        if found is None:
            raise BundleError(f"tokenizer: no token {content!r}; this prompt does not fit the model")
        return int(found)

    @property
    def controls(self) -> Mapping[str, int]:
        """Ids of all control tokens, by content."""
        added = self._backend.get_added_tokens_decoder()
        return {token.content: int(i) for i, token in added.items() if token.special}


def tokenizer_json(gguf_path: Path) -> bytes:
    """Make ``tokenizer.json`` from the metadata of a GGUF file with a ``smollm`` byte-level BPE.

    Written field by field rather than by a library, so that the bytes do not depend on its version.

    Raises:
        BundleError: The file has another kind of tokenizer.
    """
    import gguf

    fields = gguf.GGUFReader(gguf_path).fields

    def value(key: str) -> Any:
        if key not in fields:
            raise BundleError(f"{gguf_path.name}: no metadata {key!r}; it is not the model of this bundle")
        return fields[key].contents()

    kind = (value("tokenizer.ggml.model"), value("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise BundleError(f"{gguf_path.name}: tokenizer {kind}, only ('gpt2', 'smollm') is known")
    document = _document(
        value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type"), value("tokenizer.ggml.merges")
    )
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _document(tokens: Sequence[str], types: Sequence[int], merges: Sequence[str]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, **flags}
            for i, (t, k) in enumerate(zip(tokens, types, strict=True))
            if k == _CONTROL
        ],
        "normalizer": None,
        # The model was trained with every digit a token of its own.
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in merges],
        },
    }

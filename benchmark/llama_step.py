"""One decoding step of a LLaMA-shaped model in plain PyTorch, made to be captured in a CUDA graph.

It serves to measure what a GPU makes of such a step, with random weights: no tensor is allocated anew, no
value is read back, and position and token stay on the device, so that one replay of the graph is one token.
`LlamaStep.prefill` reads a prompt of embeddings, soft tokens and words alike, into the same cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaMA-shaped model.

    Attributes:
        layers: Blocks.
        width: Size of a hidden state.
        heads: Query heads.
        kv_heads: Key and value heads; divides ``heads``.
        ffn: Width of the gated MLP.
        vocabulary: Tokens.
        theta: Base of the rotary embedding.
        tied: Whether head and embedding are one matrix.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int
    theta: float = 1e4
    tied: bool = False

    @property
    def head(self) -> int:
        """Size of a head."""
        return self.width // self.heads

    def bytes_a_step(self, context: int, itemsize: int = 2) -> int:
        """Fewest bytes of a step: its weights and the cache of ``context`` positions, each read once."""
        attention = self.width * (2 * self.heads + 2 * self.kv_heads) * self.head
        block = attention + 3 * self.width * self.ffn + 2 * self.width
        cache = 2 * context * self.kv_heads * self.head
        return itemsize * (self.layers * (block + cache) + self.vocabulary * self.width + 2 * self.width)

    def bytes_a_prompt(self, count: int, itemsize: int = 2) -> int:
        """Fewest bytes of a prompt: weights and embeddings read, keys and values written, each once."""
        return self.bytes_a_step(count, itemsize) + itemsize * count * self.width

    def flops_a_prompt(self, count: int) -> int:
        """Operations of a prompt of ``count`` tokens under a causal mask; the last one's logits alone."""
        every_token = self.flops_a_step(0) - 2 * self.vocabulary * self.width
        pairs = count * (count + 1) // 2
        attention = 4 * pairs * self.heads * self.head * self.layers
        return count * every_token + attention + 2 * self.vocabulary * self.width

    def flops_a_step(self, context: int) -> int:
        """Operations of a step: two for every weight, four for every cached value and query head."""
        attention = self.width * (2 * self.heads + 2 * self.kv_heads) * self.head
        scores = 4 * context * self.heads * self.head
        return (
            self.layers * (2 * (attention + 3 * self.width * self.ffn) + scores)
            + 2 * self.vocabulary * self.width
        )


SMOLLM2_135M = Shape(30, 576, 9, 3, 1536, 49152, theta=1e5, tied=True)
LLAMA2_7B = Shape(32, 4096, 32, 32, 11008, 32000)


@dataclass
class _Block:
    attention_norm: Tensor
    qkv: Tensor
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor
    keys: Tensor
    values: Tensor


class LlamaStep:
    """State and weights of a decoder that writes one token a call, batch 1."""

    def __init__(self, shape: Shape, capacity: int, dtype: torch.dtype, device: str, seed: int = 0) -> None:
        """Draw random weights and a random cache.

        Args:
            shape: Sizes.
            capacity: Positions of the cache.
            dtype: Of weights, activations and cache.
            device: Where they live.
            seed: Of the weights.
        """
        self.shape = shape
        random = torch.Generator(device).manual_seed(seed)

        def draw(*sizes: int, scale: float | None = None) -> Tensor:
            scale = sizes[-1] ** -0.5 if scale is None else scale
            return torch.empty(*sizes, dtype=dtype, device=device).normal_(0, scale, generator=random)

        kv, head = shape.kv_heads, shape.head
        self.embedding = draw(shape.vocabulary, shape.width)
        self.head = self.embedding if shape.tied else draw(shape.vocabulary, shape.width)
        self.norm = 1 + draw(shape.width, scale=0.1)
        self.blocks = [
            _Block(
                attention_norm=1 + draw(shape.width, scale=0.1),
                qkv=draw((shape.heads + 2 * kv) * head, shape.width),
                out=draw(shape.width, shape.heads * head),
                mlp_norm=1 + draw(shape.width, scale=0.1),
                gate_up=draw(2 * shape.ffn, shape.width),
                down=draw(shape.width, shape.ffn),
                keys=draw(kv, capacity, head, scale=1.0),
                values=draw(kv, capacity, head, scale=1.0),
            )
            for _ in range(shape.layers)
        ]
        angles = torch.arange(capacity, device=device, dtype=torch.float32)[:, None] / shape.theta ** (
            torch.arange(0, head, 2, device=device, dtype=torch.float32) / head
        )
        #: Cosines and sines of every position in single precision; those computed with are rounded from them.
        self.tables = (
            torch.cat([angles.cos(), angles.cos()], -1),
            torch.cat([-angles.sin(), angles.sin()], -1),
        )
        self.set_rotary(device, dtype)
        self._slots = torch.arange(capacity, device=device)
        self.position = torch.zeros(1, dtype=torch.int64, device=device)
        self.token = torch.zeros(1, dtype=torch.int64, device=device)
        self.logits = torch.empty(shape.vocabulary, dtype=dtype, device=device)

    def set_rotary(self, device: str, dtype: torch.dtype) -> None:
        """Round the tables of the rotary embedding to a precision."""
        self._cos, self._sin = (table.to(device, dtype) for table in self.tables)

    def begin(self, position: int, token: int = 1) -> None:
        """Set where the next step writes, and its token."""
        self.position.fill_(position)
        self.token.fill_(token)

    def step(self) -> None:
        """Take the token, leave its logits and the most probable next token, and move on by one position."""
        x = self.embedding.index_select(0, self.token)
        cos, sin = self._cos.index_select(0, self.position), self._sin.index_select(0, self.position)
        bias = torch.zeros_like(self._slots, dtype=x.dtype).masked_fill_(
            self._slots > self.position, float("-inf")
        )
        for block in self.blocks:
            x = x + F.linear(self._attend(block, x, cos, sin, bias), block.out)
            x = x + self._mlp(block, x)
        self._predict(x)
        self.position.add_(1)

    def prefill(self, embedded: Tensor) -> None:
        """Read a prompt (S, width) from position 0 on; leaves what `step` leaves, of its last position."""
        count = len(embedded)
        cos, sin = self._cos[:count], self._sin[:count]
        x = embedded
        for block in self.blocks:
            x = x + F.linear(self._attend_all(block, x, cos, sin), block.out)
            x = x + self._mlp(block, x)
        self._predict(x[-1:])
        self.position.fill_(count)

    def _mlp(self, block: _Block, x: Tensor) -> Tensor:
        gate, up = F.linear(self._normed(x, block.mlp_norm), block.gate_up).chunk(2, -1)
        return F.linear(F.silu(gate) * up, block.down)

    def _predict(self, x: Tensor) -> None:
        self.logits.copy_(F.linear(self._normed(x, self.norm), self.head)[0])
        self.token.copy_(self.logits.argmax(-1, keepdim=True))

    def _attend_all(self, block: _Block, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        shape, count = self.shape, len(x)
        heads = F.linear(self._normed(x, block.attention_norm), block.qkv).view(count, -1, shape.head)
        query, key, value = heads.transpose(0, 1).split([shape.heads, shape.kv_heads, shape.kv_heads])
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        block.keys[:, :count], block.values[:, :count] = key, value
        mixed = F.scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, enable_gqa=shape.kv_heads < shape.heads
        )
        return mixed[0].transpose(0, 1).reshape(count, -1)

    def _attend(self, block: _Block, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        shape = self.shape
        heads = F.linear(self._normed(x, block.attention_norm), block.qkv).view(-1, shape.head)
        query, key, value = heads.split([shape.heads, shape.kv_heads, shape.kv_heads])
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        block.keys.index_copy_(1, self.position, key.unsqueeze(1))
        block.values.index_copy_(1, self.position, value.unsqueeze(1))
        grouped = query.view(shape.kv_heads, -1, shape.head) * shape.head**-0.5
        weights = (grouped @ block.keys.transpose(1, 2) + bias).softmax(-1)
        return (weights @ block.values).view(1, -1)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (self.shape.width,), weight, 1e-5)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding in the half-split layout of the Hugging Face models; ``sin`` carries the sign."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([x[..., half:], x[..., :half]], -1) * sin

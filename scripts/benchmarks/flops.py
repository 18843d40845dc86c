"""The matrix products that a training step cannot do without, and their floating-point operations.

    B  sequences in a batch        D  hidden size            L  layers
    T  tokens in a sequence        F  feed-forward size      V  vocabulary size
    R  B x T, the rows             A  adapter's bottleneck   H  attention heads, each D/H wide
    N  masked positions, those the loss looks at: about 15 % of R

A product of (m, k) with (k, n) is 2 m k n operations. What a step needs, and no more:

- Forward: every layer, its adapter included. In the last layer only the N masked positions are read
  by the loss, so its queries, attention output, feed-forward block and adapter are needed for those
  alone, its keys and values for all R. The LM head is needed for the N positions.
- Backward: the weights are frozen but for the adapters, so there is a gradient for the activations
  and, in the adapters only, one for the weights. It flows from the loss down to the first layer's
  adapter and ends there: that adapter's input, and all that lies before it, needs none. In the last
  layer it starts from N rows, as the forward pass ended with N.

Left out, because they are not products: layer norms, softmax, gelu, dropout, embeddings, biases,
the cross-entropy and AdamW. No implementation is without them, so none reaches the whole limit.
Recomputing activations to save memory is not needed work and is not counted either.

Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, for counting 2 operations a weight and
row; the rest follows from the chain rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Product:
    """`batch` products of (m, k) with (k, n), done `count` times in a step."""

    part: str
    """What it belongs to, such as `encoder forward`."""
    m: int
    k: int
    n: int
    count: int
    batch: int = 1
    left_transposed: bool = False
    """Whether the left factor lies in memory as (k, m): a weight's gradient."""
    right_transposed: bool = False
    """Whether the right factor lies in memory as (n, k): a linear layer's weight, forward."""

    @property
    def flops(self) -> int:
        return 2 * self.m * self.k * self.n * self.batch * self.count


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a model and of one of its training steps, named as in the legend above."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    bottleneck: int
    vocabulary: int
    sequences: int
    tokens: int
    masked: int

    @classmethod
    def of(
        cls, config: Mapping[str, Any], *, batch_size: int, max_length: int, num_masked: int
    ) -> Shape:
        """From a checkpoint's `config.json`."""
        hidden = config["hidden_size"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            heads=config["num_attention_heads"],
            feed_forward=config["intermediate_size"],
            bottleneck=hidden // config["adapter_reduction_factor"],
            vocabulary=config["vocab_size"],
            sequences=batch_size,
            tokens=max_length,
            masked=num_masked,
        )

    @property
    def rows(self) -> int:
        return self.sequences * self.tokens


def needed_products(shape: Shape) -> list[Product]:
    """Every matrix product of one training step, as the module's docstring lists them."""
    products: list[Product] = []
    for layer in range(shape.layers):
        # All positions and all queries of a sequence, or the masked ones in the last layer.
        last = layer == shape.layers - 1
        rows = shape.masked if last else shape.rows
        products += _attention_forward(shape, rows)
        products += _feed_forward_forward(shape, rows)
        products += _adapter_forward(shape, rows)
        products += _adapter_backward(shape, rows, first=layer == 0)
        if layer > 0:
            products += _feed_forward_backward(shape, rows)
            products += _attention_backward(shape, rows)
    products += _head(shape)
    return [product for product in products if product.flops]


def _linear(part: str, rows: int, inputs: int, outputs: int, count: int = 1) -> Product:
    """`x W'`, the weight lying as (outputs, inputs)."""
    return Product(part=part, m=rows, k=inputs, n=outputs, count=count, right_transposed=True)


def _input_gradient(part: str, rows: int, inputs: int, outputs: int, count: int = 1) -> Product:
    """`dy W`."""
    return Product(part=part, m=rows, k=outputs, n=inputs, count=count)


def _weight_gradient(part: str, rows: int, inputs: int, outputs: int) -> Product:
    """`dy' x`."""
    return Product(part=part, m=outputs, k=rows, n=inputs, count=1, left_transposed=True)


def _attention_forward(shape: Shape, rows: int) -> list[Product]:
    part, hidden = "encoder forward", shape.hidden
    return [
        _linear(part, shape.rows, hidden, hidden, count=2),  # keys and values
        _linear(part, rows, hidden, hidden, count=2),  # queries and output
        *_per_head(shape, part, rows, "q k'", "p v"),
    ]


def _attention_backward(shape: Shape, rows: int) -> list[Product]:
    part, hidden = "encoder backward", shape.hidden
    return [
        _input_gradient(part, rows, hidden, hidden, count=2),  # queries and output
        _input_gradient(part, shape.rows, hidden, hidden, count=2),  # keys and values
        *_per_head(shape, part, rows, "dp = do v'", "dv = p' do", "dq = ds k", "dk = ds' q"),
    ]


def _per_head(shape: Shape, part: str, rows: int, *names: str) -> Iterator[Product]:
    """Attention's own products, of `rows` queries in all with the T keys of their sequence.

    Masked positions are not the same number in every sequence; each query costs the same, so they
    are shared out as evenly as they go.
    """
    width, pairs = shape.hidden // shape.heads, shape.sequences * shape.heads
    few, with_one_more = divmod(rows, shape.sequences)
    for queries, batch in (
        (few, pairs - with_one_more * shape.heads),
        (few + 1, with_one_more * shape.heads),
    ):
        if not queries or not batch:
            continue
        sizes: dict[str, Any] = {"part": part, "count": 1, "batch": batch}
        for name in names:
            if name in ("q k'", "dp = do v'"):
                yield Product(m=queries, k=width, n=shape.tokens, right_transposed=True, **sizes)
            elif name in ("p v", "dq = ds k"):
                yield Product(m=queries, k=shape.tokens, n=width, **sizes)
            else:
                yield Product(m=shape.tokens, k=queries, n=width, left_transposed=True, **sizes)


def _feed_forward_forward(shape: Shape, rows: int) -> list[Product]:
    part = "encoder forward"
    return [
        _linear(part, rows, shape.hidden, shape.feed_forward),
        _linear(part, rows, shape.feed_forward, shape.hidden),
    ]


def _feed_forward_backward(shape: Shape, rows: int) -> list[Product]:
    part = "encoder backward"
    return [
        _input_gradient(part, rows, shape.hidden, shape.feed_forward),
        _input_gradient(part, rows, shape.feed_forward, shape.hidden),
    ]


def _adapter_forward(shape: Shape, rows: int) -> list[Product]:
    part = "adapter forward"
    return [
        _linear(part, rows, shape.hidden, shape.bottleneck),
        _linear(part, rows, shape.bottleneck, shape.hidden),
    ]


def _adapter_backward(shape: Shape, rows: int, *, first: bool) -> list[Product]:
    part = "adapter backward"
    products = [
        _weight_gradient(part, rows, shape.hidden, shape.bottleneck),
        _weight_gradient(part, rows, shape.bottleneck, shape.hidden),
        _input_gradient(part, rows, shape.bottleneck, shape.hidden),
    ]
    if not first:
        products.append(_input_gradient(part, rows, shape.hidden, shape.bottleneck))
    return products


def _head(shape: Shape) -> list[Product]:
    rows, hidden = shape.masked, shape.hidden
    return [
        _linear("LM head forward", rows, hidden, hidden),
        _linear("LM head forward", rows, hidden, shape.vocabulary),
        _input_gradient("LM head backward", rows, hidden, shape.vocabulary),
        _input_gradient("LM head backward", rows, hidden, hidden),
    ]


def flops_by_part(products: list[Product]) -> dict[str, int]:
    """Operations of a step by part, in the order in which the parts first appear."""
    totals: dict[str, int] = {}
    for product in products:
        totals[product.part] = totals.get(product.part, 0) + product.flops
    return totals

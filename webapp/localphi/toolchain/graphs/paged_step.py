"""What all layers of a paged graph need to know of a step: where its tokens belong.

The engine packs the new tokens of all conversations into one row of N, with a table of the cache blocks of each
conversation. Attention wants rectangles: for B conversations the N tokens are cut into pieces of P = ceil(N / B)
tokens, none of more than one conversation. So there are fewer than 2 B pieces, and less than half of what is
computed is padding, whether all decode, one prefills, or both at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localphi.toolchain.graphs.nodes import Nodes

MASKED = np.float32(-1e9)
_END = 2**62


@dataclass(frozen=True)
class Shape:
    """H query heads, K heads of keys and values, D numbers in each; tokens in a block of the cache."""

    heads: int
    kv_heads: int
    head_size: int
    block_tokens: int
    heads_at_once: int

    @property
    def groups(self) -> int:
        """Query heads that read the same keys."""
        return self.heads // self.kv_heads


@dataclass(frozen=True)
class Step:
    """Names of tensors. N new tokens, R pieces of P tokens, C columns of blocks, S = C * block_tokens keys.

    positions (1, N): of each token in its conversation.
    written (W): the tokens that are written to the cache; slots (W, K, 3): where. Where a block is begun, its
    rest is filled with the last token, so that whatever is masked is a finite number.
    queries (R, P): the token at each place of the pieces; tokens (N): the place of each token.
    blocks: for each group of k heads (R, k, C): where their keys lie in a cache of (blocks * K, tokens, D).
    query_positions (R, P), key_positions (S); query_shape: the five sizes R, P, K, G, D.
    sizes: R, P and S, each in a row of its own.
    """

    positions: str
    written: str
    slots: str
    queries: str
    tokens: str
    blocks: Sequence[str]
    query_shape: str
    query_positions: str
    key_positions: str
    sizes: Sequence[str]


def write_step(nodes: Nodes, shape: Shape) -> Step:
    """Write the nodes that compute a `Step` from the engine's inputs."""
    add, one, block = nodes.add, nodes.integer(1), nodes.integer(shape.block_tokens)
    zero, row_axis, last_axis = nodes.integer(0), nodes.integers(0), nodes.integers(1)
    cumulative = _int64(nodes, "cumulative_sequence_lengths")
    past = _int64(nodes, "past_sequence_lengths")
    table = _int64(nodes, "block_table")
    flat_table = add("Reshape", table, nodes.integers(-1))
    columns = add("Gather", add("Shape", table), one)
    starts = add("Slice", cumulative, nodes.integers(0), nodes.integers(-1), row_axis)
    ends = add("Slice", cumulative, nodes.integers(1), nodes.integers(_END), row_axis)
    counts = add("Sub", ends, starts)
    last_positions = add("Sub", add("Add", past, counts), one)  # (B)
    last_columns = add("Div", last_positions, block)

    # Where each token belongs.
    n = add("Size", "input_ids")
    token = add("Range", zero, n, one)
    row = _row_of(nodes, token, ends)
    offset = add("Sub", token, add("Gather", starts, row))
    position = add("Add", offset, add("Gather", past, row))
    column, slot = add("Div", position, block), add("Mod", position, block)
    block_id = add("Gather", flat_table, add("Add", add("Mul", row, columns), column))

    # The rest of the blocks that this step begins.
    first_of_last = add("Mul", last_columns, block)
    begun = add("GreaterOrEqual", first_of_last, past)
    filled = add(
        "Add",
        add("Sub", last_positions, first_of_last),
        add("Mul", add("Sub", one, add("Cast", begun, to=7)), block),
    )
    places = nodes.constant(np.arange(shape.block_tokens, dtype=np.int64))
    rest = add("NonZero", add("Less", add("Unsqueeze", filled, last_axis), places))  # (2, M)
    rest_row, rest_slot = add("Gather", rest, zero), add("Gather", rest, one)
    rest_column = add("Add", add("Mul", rest_row, columns), add("Gather", last_columns, rest_row))
    rest_token = add("Sub", add("Gather", ends, rest_row), one)
    written = add("Concat", token, rest_token, axis=0)
    slots = _slots(
        nodes,
        shape,
        add("Concat", block_id, add("Gather", flat_table, rest_column), axis=0),
        add("Concat", slot, rest_slot, axis=0),
    )

    # The pieces of the queries.
    b = add("Size", past)
    p = _divided_up(nodes, n, b)
    piece_ends = add("CumSum", _divided_up(nodes, counts, p), zero)
    piece_starts = add("Sub", piece_ends, _divided_up(nodes, counts, p))
    r = add("Gather", piece_ends, nodes.integer(-1))
    piece = add("Range", zero, r, one)
    piece_row = _row_of(nodes, piece, piece_ends)
    begin = add("Mul", add("Sub", piece, add("Gather", piece_starts, piece_row)), p)
    in_row = add("Add", add("Unsqueeze", begin, last_axis), add("Range", zero, p, one))  # (R, P)
    piece_past = add("Unsqueeze", add("Gather", past, piece_row), last_axis)
    piece_token = add("Unsqueeze", add("Gather", starts, piece_row), last_axis)
    query_positions = add("Add", in_row, piece_past)
    queries = add("Min", add("Add", in_row, piece_token), add("Sub", n, one))
    tokens = add("Add", add("Mul", add("Gather", piece_starts, row), p), offset)

    # The keys: as many columns as the longest conversation has; shorter ones repeat their last block.
    longest = _int64(nodes, add("Gather", "attention_metadata", one))
    c = _divided_up(nodes, longest, block)
    s = add("Mul", c, block)
    last_column = add("Unsqueeze", add("Gather", last_columns, piece_row), last_axis)
    first_column = add("Unsqueeze", add("Mul", piece_row, columns), last_axis)
    wanted = add("Add", add("Min", add("Range", zero, c, one), last_column), first_column)
    in_heads = add("Mul", add("Gather", flat_table, wanted), nodes.integer(shape.kv_heads))  # (R, C)
    in_heads = add("Unsqueeze", in_heads, last_axis)
    sizes = [add("Unsqueeze", size, row_axis) for size in (r, p, s)]
    heads = nodes.integers(shape.kv_heads, shape.groups, shape.head_size)
    return Step(
        positions=add("Unsqueeze", position, row_axis),
        written=written,
        slots=slots,
        queries=queries,
        tokens=tokens,
        blocks=[add("Add", in_heads, _heads(nodes, group)) for group in head_groups(shape)],
        query_shape=add("Concat", sizes[0], sizes[1], heads, axis=0),
        query_positions=query_positions,
        key_positions=add("Range", zero, s, one),
        sizes=sizes,
    )


def head_groups(shape: Shape) -> list[range]:
    """The heads of keys and values, as many together as are read from the cache at once."""
    starts = range(0, shape.kv_heads, shape.heads_at_once)
    return [range(start, min(start + shape.heads_at_once, shape.kv_heads)) for start in starts]


def write_mask(nodes: Nodes, step: Step, window: int) -> str:
    """(R, 1, P, S): 0 where a query may see a key, else a number that leaves nothing of it.

    window: how many tokens a query sees, its own among them; 0 for all before it.
    """
    add = nodes.add
    query = add("Unsqueeze", step.query_positions, nodes.integers(1, 3))  # (R, 1, P, 1)
    seen = add("LessOrEqual", step.key_positions, query)
    if window:
        near = add("Greater", step.key_positions, add("Sub", query, nodes.integer(window)))
        seen = add("And", seen, near)
    return add("Where", seen, nodes.constant(np.float32(0)), nodes.constant(MASKED))


def _int64(nodes: Nodes, name: str) -> str:
    return nodes.add("Cast", name, to=7)


def _row_of(nodes: Nodes, index: str, ends: str) -> str:
    """For each index the number of rows that end before it, which is the row that it lies in."""
    passed = nodes.add("GreaterOrEqual", nodes.add("Unsqueeze", index, nodes.integers(1)), ends)
    return nodes.add("ReduceSum", nodes.add("Cast", passed, to=7), nodes.integers(1), keepdims=0)


def _divided_up(nodes: Nodes, count: str, by: str) -> str:
    more = nodes.add("Sub", nodes.add("Add", count, by), nodes.integer(1))
    return nodes.add("Div", more, by)


def _heads(nodes: Nodes, group: range) -> str:
    return nodes.constant(np.array(group, np.int64)[:, None])


def _slots(nodes: Nodes, shape: Shape, block_ids: str, slots: str) -> str:
    """Where the keys of a token lie, head by head.

    The engine makes the cache as (blocks, tokens, K, D). We fill each block head by head instead: all its
    tokens of head 0, then all of head 1. So the keys of one head are read in long runs.
    """
    add = nodes.add
    heads = nodes.constant(np.arange(shape.kv_heads, dtype=np.int64) * shape.block_tokens)
    rows = add("Add", add("Unsqueeze", slots, nodes.integers(1)), heads)  # (W, K)
    kv_heads = nodes.integer(shape.kv_heads)
    blocks = add("Expand", add("Unsqueeze", block_ids, nodes.integers(1)), add("Shape", rows))
    parts = (blocks, add("Div", rows, kv_heads), add("Mod", rows, kv_heads))
    return add("Concat", *(add("Unsqueeze", part, nodes.integers(2)) for part in parts), axis=2)

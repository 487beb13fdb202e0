"""What all layers of a paged graph need to know of a step: where its tokens belong.

The engine packs the new tokens of all conversations into one row of N, with a table of the cache blocks of
each. Attention wants rectangles: for B conversations the N tokens are cut into pieces of P = ceil(N / B)
tokens, none of more than one conversation. So there are fewer than 2 B pieces, and about half of what is
computed is padding at worst, whether all decode, one prefills, or both at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localphi.toolchain.graphs.nodes import INT64, Nodes

MASKED = np.float32(-1e9)
_END = 2**62
# Of the keys of all conversations, copied together where each has one new token: 64 MB. That is faster than a
# loop over them at every length that was measured, and takes as much memory again for the values.
_NUMBERS_TOGETHER = 2**24


@dataclass(frozen=True)
class Shape:
    """H query heads, K heads of keys and values, D numbers in each; tokens in a block of the cache.

    heads_at_once: how many of the K heads are read from the cache together.
    """

    heads: int
    kv_heads: int
    head_size: int
    block_tokens: int
    heads_at_once: int

    @property
    def groups(self) -> int:
        """G, query heads that read the same keys."""
        return self.heads // self.kv_heads

    @property
    def head_counts(self) -> list[int]:
        """The K heads in parts of `heads_at_once`."""
        starts = range(0, self.kv_heads, self.heads_at_once)
        return [min(self.heads_at_once, self.kv_heads - start) for start in starts]


@dataclass(frozen=True)
class Step:
    """Names of tensors. N new tokens, R pieces of P tokens, C columns of blocks, S = C * block_tokens keys.

    positions (1, N): of each token in its conversation.
    written (W): the tokens that are written to the cache; slots (W, K, 3): where.
    queries (R, P): the token at each place of the pieces; tokens (N): the place of each token.
    blocks (R, K, C): where the keys of a piece lie in a cache of (blocks * K, tokens, D); used (R, 1): in how
    many of the columns.
    query_positions (R, G * P), key_positions (S).
    query_shape, answer_shape: the sizes R, P, K, G, D and R, K, G, P, D.
    short: whether each conversation has one new token, and the keys of all, as long as the longest, are few.
    """

    positions: str
    written: str
    slots: str
    queries: str
    tokens: str
    blocks: str
    used: str
    query_positions: str
    key_positions: str
    query_shape: str
    answer_shape: str
    short: str


@dataclass(frozen=True)
class _Conversations:
    """Names of tensors (B): where each conversation's new tokens begin and end in the packed row, how many
    they are, how many tokens are cached, the position of the last new one and the column of blocks it is in.

    table: all rows of the block table one after the other; columns: how many blocks each row has.
    """

    starts: str
    ends: str
    counts: str
    past: str
    last_positions: str
    last_columns: str
    table: str
    columns: str


def write_step(nodes: Nodes, shape: Shape) -> Step:
    """Write the nodes that compute a `Step` from the engine's inputs."""
    add, one, block = nodes.add, nodes.integer(1), nodes.integer(shape.block_tokens)
    all_rows = _write_conversations(nodes, block)

    n = add("Size", "input_ids")
    token = add("Range", nodes.integer(0), n, one)
    row = _row_of(nodes, token, all_rows.ends)
    offset = add("Sub", token, add("Gather", all_rows.starts, row))
    position = add("Add", offset, add("Gather", all_rows.past, row))
    column = add("Add", add("Mul", row, all_rows.columns), add("Div", position, block))
    places = (token, add("Gather", all_rows.table, column), add("Mod", position, block))
    written, slots = _write_slots(nodes, shape, all_rows, places)

    # The pieces: p tokens of conversation `piece_row` from `begin` on.
    p = _divided_up(nodes, n, add("Size", all_rows.past))
    piece_counts = _divided_up(nodes, all_rows.counts, p)
    piece_ends = add("CumSum", piece_counts, nodes.integer(0))
    piece_starts = add("Sub", piece_ends, piece_counts)
    r = add("Gather", piece_ends, nodes.integer(-1))
    piece = add("Range", nodes.integer(0), r, one)
    piece_row = _row_of(nodes, piece, piece_ends)
    begin = add("Mul", add("Sub", piece, add("Gather", piece_starts, piece_row)), p)
    within = add("Add", _upright(nodes, begin), add("Range", nodes.integer(0), p, one))  # (R, P)
    query_positions = add("Add", within, _upright(nodes, add("Gather", all_rows.past, piece_row)))
    queries = add("Add", within, _upright(nodes, add("Gather", all_rows.starts, piece_row)))

    # The blocks: as many columns as the longest conversation has; shorter ones repeat their last.
    longest = nodes.cast(add("Gather", "attention_metadata", one), INT64)
    c = _divided_up(nodes, longest, block)
    last_column = _upright(nodes, add("Gather", all_rows.last_columns, piece_row))
    first_column = _upright(nodes, add("Mul", piece_row, all_rows.columns))
    wanted = add("Add", add("Min", add("Range", nodes.integer(0), c, one), last_column), first_column)
    head_rows = add("Mul", add("Gather", all_rows.table, wanted), nodes.integer(shape.kv_heads))  # (R, C)
    heads = nodes.constant(np.arange(shape.kv_heads, dtype=np.int64)[:, None])
    last_query = add("Add", add("Gather", query_positions, nodes.integers(0), axis=1), add("Sub", p, one))
    used = add("Add", add("Min", add("Div", last_query, block), last_column), one)

    sizes = [add("Unsqueeze", size, nodes.integers(0)) for size in (r, p)]
    k, g, d = (nodes.integers(size) for size in (shape.kv_heads, shape.groups, shape.head_size))
    return Step(
        positions=add("Unsqueeze", position, nodes.integers(0)),
        written=written,
        slots=slots,
        queries=add("Min", queries, add("Sub", n, one)),
        tokens=add("Add", add("Mul", add("Gather", piece_starts, row), p), offset),
        blocks=add("Add", add("Unsqueeze", head_rows, nodes.integers(1)), heads),
        used=used,
        query_positions=add("Tile", query_positions, nodes.integers(1, shape.groups)),
        key_positions=add("Range", nodes.integer(0), add("Mul", c, block), one),
        query_shape=add("Concat", *sizes, k, g, d, axis=0),
        answer_shape=add("Concat", sizes[0], k, g, sizes[1], d, axis=0),
        short=_write_short(nodes, shape, p, add("Mul", r, c)),
    )


def write_mask(nodes: Nodes, step: Step, window: int) -> str:
    """(R, 1, G * P, S): 0 where a query may see a key, else a number that leaves nothing of it.

    window: how many tokens a query sees, its own among them; 0 for all before it.
    """
    add = nodes.add
    query = add("Unsqueeze", step.query_positions, nodes.integers(1, 3))  # (R, 1, G * P, 1)
    seen = add("LessOrEqual", step.key_positions, query)
    if window:
        near = add("Greater", step.key_positions, add("Sub", query, nodes.integer(window)))
        seen = add("And", seen, near)
    return add("Where", seen, nodes.constant(np.float32(0)), nodes.constant(MASKED))


def _write_conversations(nodes: Nodes, block: str) -> _Conversations:
    add = nodes.add
    cumulative = nodes.cast("cumulative_sequence_lengths", INT64)
    past = nodes.cast("past_sequence_lengths", INT64)
    table = nodes.cast("block_table", INT64)
    starts = add("Slice", cumulative, nodes.integers(0), nodes.integers(-1))
    ends = add("Slice", cumulative, nodes.integers(1), nodes.integers(_END))
    counts = add("Sub", ends, starts)
    last_positions = add("Sub", add("Add", past, counts), nodes.integer(1))
    return _Conversations(
        starts=starts,
        ends=ends,
        counts=counts,
        past=past,
        last_positions=last_positions,
        last_columns=add("Div", last_positions, block),
        table=add("Reshape", table, nodes.integers(-1)),
        columns=add("Gather", add("Shape", table), nodes.integer(1)),
    )


def _write_slots(
    nodes: Nodes, shape: Shape, all_rows: _Conversations, places: tuple[str, str, str]
) -> tuple[str, str]:
    """Which tokens are written to the cache (W), and where (W, K, 3).

    places (N): the new tokens, their blocks and their slots in these.

    The engine does not empty the blocks it hands out. Where this step begins a block, its rest is filled with
    the conversation's last token: what is masked must be a finite number, as 0 times another is not 0.

    The engine makes the cache as (blocks, tokens, K, D). We fill each block head by head instead: all its
    tokens of head 0, then all of head 1. So the keys of one head are read in long runs.
    """
    add, one, block = nodes.add, nodes.integer(1), nodes.integer(shape.block_tokens)
    token, block_id, slot = places
    first_position = add("Mul", all_rows.last_columns, block)
    old = nodes.cast(add("Less", first_position, all_rows.past), INT64)
    filled = add("Sub", all_rows.last_positions, first_position)
    filled = add("Add", filled, add("Mul", old, block))
    all_slots = nodes.constant(np.arange(shape.block_tokens, dtype=np.int64))
    rest = add("NonZero", add("Less", _upright(nodes, filled), all_slots))
    rest_row, rest_slot = add("Gather", rest, nodes.integer(0)), add("Gather", rest, one)
    column = add("Mul", rest_row, all_rows.columns)
    column = add("Add", column, add("Gather", all_rows.last_columns, rest_row))
    block_ids = add("Concat", block_id, add("Gather", all_rows.table, column), axis=0)
    slots = add("Concat", slot, rest_slot, axis=0)
    last_token = add("Sub", add("Gather", all_rows.ends, rest_row), one)

    heads = nodes.constant(np.arange(shape.kv_heads, dtype=np.int64) * shape.block_tokens)
    rows = add("Add", _upright(nodes, slots), heads)  # (W, K)
    parts = (
        add("Expand", _upright(nodes, block_ids), add("Shape", rows)),
        add("Div", rows, nodes.integer(shape.kv_heads)),
        add("Mod", rows, nodes.integer(shape.kv_heads)),
    )
    slots = add("Concat", *(_upright(nodes, part) for part in parts), axis=-1)
    return add("Concat", token, last_token, axis=0), slots


def _write_short(nodes: Nodes, shape: Shape, p: str, blocks: str) -> str:
    """See `Step.short`. p: tokens in a piece. blocks: of all pieces, each as long as the longest."""
    numbers = shape.kv_heads * shape.block_tokens * shape.head_size
    few = nodes.add("LessOrEqual", blocks, nodes.integer(_NUMBERS_TOGETHER // numbers))
    return nodes.add("And", nodes.add("Equal", p, nodes.integer(1)), few)


def _row_of(nodes: Nodes, index: str, ends: str) -> str:
    """For each index the number of rows that end before it, which is the row that it lies in."""
    passed = nodes.cast(nodes.add("GreaterOrEqual", _upright(nodes, index), ends), INT64)
    return nodes.add("ReduceSum", passed, nodes.integers(1), keepdims=0)


def _divided_up(nodes: Nodes, count: str, by: str) -> str:
    more = nodes.add("Sub", nodes.add("Add", count, by), nodes.integer(1))
    return nodes.add("Div", more, by)


def _upright(nodes: Nodes, row: str) -> str:
    """With an axis of length 1 at the end."""
    return nodes.add("Unsqueeze", row, nodes.integers(-1))

"""What ONNX Runtime GenAI is told about a model folder: its threads, and to run its paged graph."""

from __future__ import annotations

import json

from localphi.models.manifest import PagedGraph

# genai_config.json names the tensors that both graphs have; these are the paged graph's own. The engine puts
# the new tokens of all conversations in one row, and tells here where each begins in it, how many of its
# tokens the cache has, which blocks of the cache are its, and of which tokens it wants logits.
PAGED_INPUTS = (
    "cumulative_sequence_lengths",
    "past_sequence_lengths",
    "block_table",
    "attention_metadata",
    "logits_indices",
)


def threads_overlay(threads: int) -> str:
    """JSON for `og.Config(folder).overlay`: use so many threads. GenAI takes half of the cores.

    They do not go on spinning when a step is over: the next one may be another graph's, with its own.
    """
    options = {"intra_op_num_threads": threads, "session.force_spinning_stop": "1"}
    return json.dumps({"model": {"decoder": {"session_options": options}}})


def paged_overlay(
    paged: PagedGraph, *, num_blocks: int, max_batch_size: int, max_scheduled_tokens: int
) -> str:
    """JSON for `og.Config(folder).overlay`: load the paged graph, and a pool of `num_blocks` for its cache.

    max_scheduled_tokens: of all conversations together in one step.
    """
    inputs = {name: name for name in PAGED_INPUTS}
    batching = {
        "block_size": paged.block_tokens,
        "num_blocks": num_blocks,
        "max_batch_size": max_batch_size,
        "max_scheduled_tokens": max_scheduled_tokens,
    }
    model = {"type": "decoder", "decoder": {"filename": paged.graph, "inputs": inputs}}
    return json.dumps({"model": model, "engine": {"dynamic_batching": batching}})

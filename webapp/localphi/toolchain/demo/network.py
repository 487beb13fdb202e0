"""The network as transformers sees it: a small Phi-3, born able to copy.

A transformer that has to copy what it never saw needs induction heads: one head looks at the token before, a
later head finds where the current token occurred and brings what came next. Training finds them late, all at
once; in the first million tokens here it had not (LOG.md). So they are there from the start, as weights:

    embedding   content | a constant | room for signatures, empty
    layer 0     two heads look one and two tokens back (the constant and the fast rotary pairs make it so) and
                leave signatures of those tokens, a projection of their content, in the room
    layer 1     a head of each group compares the last two tokens with the signatures everywhere, by the slow
                rotary pairs, which turn too little to matter, and brings the content of what followed

Two tokens are compared because one of two is a space. The head that makes logits starts as a small copy of
the embedding. All else that writes into the residual stream starts at zero. Training may change all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localphi.toolchain.demo.settings import END, END_OF_TEXT, SHAPE
from localphi.toolchain.demo.tokenizer import control_ids

_SIGNATURE = SHAPE.head_size
_OLDER_SIGNATURE = SHAPE.head_size // 2
_FAST_PAIRS = 8  # rotary pairs that tell positions apart; the others turn slowly
_CONSTANT = 4.0  # beside entries of the content of about 1
_BACK_SHARPNESS = 2.0
_MATCH_SHARPNESS = 2.4
_SIGNATURE_SIZE = 1.3
_COPY_SIZE = 6.0
_HEAD_SIZE = 0.06


def new_network(seed: int) -> Any:
    """A `Phi3ForCausalLM` of the demo's shape with fresh weights."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(seed)
    ids = control_ids()
    config = Phi3Config(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=SHAPE.context,
        original_max_position_embeddings=SHAPE.context,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": SHAPE.rope_theta,
            "partial_rotary_factor": 1.0,
        },
        sliding_window=None,
        tie_word_embeddings=False,
        bos_token_id=ids[END_OF_TEXT],
        eos_token_id=[ids[END_OF_TEXT], ids[END]],
        pad_token_id=ids[END_OF_TEXT],
    )
    network = Phi3ForCausalLM(config)
    with torch.no_grad():
        _prepare_copying(network)
    return network


def save_network(network: Any, folder: Path) -> None:
    """Write the weights and the configuration as a Hugging Face folder, in float32."""
    network.save_pretrained(folder)


def _prepare_copying(network: Any) -> None:
    """Set embedding, head and the first two layers to the induction circuit of the module's docstring."""
    import torch

    model = network.model
    content = SHAPE.hidden - 1 - _SIGNATURE - _OLDER_SIGNATURE
    table = model.embed_tokens.weight
    table.normal_()
    table[:, content] = _CONSTANT
    table[:, content + 1 :] = 0
    network.lm_head.weight.copy_(table * _HEAD_SIZE)
    network.lm_head.weight[:, content] = 0
    for layer in model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    signature = torch.nn.init.orthogonal_(torch.empty(_SIGNATURE, content))
    _look_back(model.layers[0].self_attn, signature, content)
    _find_and_copy(model.layers[1].self_attn, signature, content)


def _look_back(attention: Any, signature: Any, constant: int) -> None:
    """Query heads 0 and 1 attend one and two tokens back and write those tokens' signatures into the room."""
    import torch

    size, half = SHAPE.head_size, SHAPE.head_size // 2
    query, key, value = _projections(attention)
    turn = SHAPE.rope_theta ** (-torch.arange(_FAST_PAIRS) / half)
    k, v = _head(key, 0), _head(value, 0)
    k.zero_()
    k[:_FAST_PAIRS, constant] = _BACK_SHARPNESS
    v.zero_()
    v[:, :constant] = signature
    room = constant + 1
    for back, width in ((1, _SIGNATURE), (2, _OLDER_SIGNATURE)):
        q = _head(query, back - 1)
        q.zero_()
        q[:_FAST_PAIRS, constant] = _BACK_SHARPNESS * (turn * back).cos()
        q[half : half + _FAST_PAIRS, constant] = -_BACK_SHARPNESS * (turn * back).sin()
        first = (back - 1) * size
        out = attention.o_proj.weight[room : room + width, first : first + size]
        out.copy_(torch.eye(size)[:width] * _SIGNATURE_SIZE)
        room += width


def _find_and_copy(attention: Any, signature: Any, content: int) -> None:
    """The first query head of each group finds where the last two tokens stood, and brings what followed."""
    import torch

    size, half, groups = SHAPE.head_size, SHAPE.head_size // 2, SHAPE.kv_heads
    query, key, value = _projections(attention)
    slow = [*range(_FAST_PAIRS, half), *range(half + _FAST_PAIRS, size)]
    last, before = slow[: len(slow) * 3 // 5], slow[len(slow) * 3 // 5 :]
    one, two = content + 1, content + 1 + _SIGNATURE  # where the signatures of one and two tokens back stand
    copied = torch.nn.init.orthogonal_(torch.empty(groups * size, content))
    sharp = _MATCH_SHARPNESS / _SIGNATURE_SIZE
    for group in range(groups):
        head = group * SHAPE.heads // groups
        q, k, v = _head(query, head), _head(key, group), _head(value, group)
        for rows in (q, k, v):
            rows.zero_()
        for n, row in enumerate(last):  # the current token against the one before the key
            part = group * (_SIGNATURE - len(last)) + n
            q[row, :content] = signature[part] * _MATCH_SHARPNESS
            k[row, one + part] = sharp
        for n, row in enumerate(before):  # and the token before each of them
            part = group * (_OLDER_SIGNATURE - len(before)) + n
            q[row, one + part] = sharp
            k[row, two + part] = sharp
        brought = copied[group * size : (group + 1) * size]
        v[:, :content] = brought
        attention.o_proj.weight[:content, head * size : (head + 1) * size] = brought.T * _COPY_SIZE


def _projections(attention: Any) -> tuple[Any, Any, Any]:
    """The rows of the packed projection that make queries, keys and values."""
    queries, keys = SHAPE.heads * SHAPE.head_size, SHAPE.kv_heads * SHAPE.head_size
    packed = attention.qkv_proj.weight
    return packed[:queries], packed[queries : queries + keys], packed[queries + keys :]


def _head(rows: Any, number: int) -> Any:
    return rows[number * SHAPE.head_size : (number + 1) * SHAPE.head_size]

"""Names in the weight files of the original 2024 implementations, and ours for the same tensors."""

from __future__ import annotations

import re

from deepsight.errors import UserError

# Longer names first: `decoder_feed_forward` is the bridge at the top level and a feed-forward inside a block.
_BLOCKS = [
    (r"encoder_transformer_blocks\.(\d+)\.", r"encoder.\1."),
    (r"decoder_transformer_blocks\.(\d+)\.", r"decoder.\1."),
    (r"transformer_blocks\.(\d+)\.", r"blocks.\1."),
]
_PARTS = {
    "multi_attn_head.batch_attn_weights": "attention.query_key_value",
    "multi_attn_head.residual_proj": "attention.output",
    "decoder_multi_attn_head.batch_attn_weights": "attention.query_key_value",
    "decoder_multi_attn_head.residual_proj": "attention.output",
    "cross_multi_attn_head.q_weights": "cross_attention.query",
    "cross_multi_attn_head.k_v_weights": "cross_attention.key_value",
    "cross_multi_attn_head.residual_proj": "cross_attention.output",
    "feed_forward.linear": "feed_forward.expand",
    "feed_forward.residual_proj": "feed_forward.output",
    "decoder_feed_forward.linear": "feed_forward.expand",
    "decoder_feed_forward.residual_proj": "feed_forward.output",
    "ln1": "attention_norm",
    "ln2": "feed_forward_norm",
    "decoder_ln1": "attention_norm",
    "decoder_ln2": "feed_forward_norm",
    "decoder_cross_ln": "cross_attention_norm",
    "encoder_cross_ln": "encoder_norm",
}
_TOP = {
    "token_embedding": "embedding.token",
    "positional_embedding": "embedding.position",
    "decoder_feed_forward": "bridge",
    "ln": "final_norm",
    "ffd_ln": "bridge_norm",
    "post_sub_pos_ln": "subtraction_norm",
}
OBJECTIVE_NORMS = {
    "encoder_out_ln": "encoder_norm",
    "planning_context_ln_1": "embedding_norm",
    "planning_context_ln_2": "context_norm",
    "embeddings_ln": "target_norm",
}
"""Norms of the published objectives: original name → name in `objectives.future_context` or `objectives.embedding`."""


def our_name(original: str) -> str:
    """Return our name of an original tensor of the network.

    Raises:
        UserError: no original model has a tensor of that name.

    """
    module, _, kind = original.rpartition(".")
    for pattern, block in _BLOCKS:
        match = re.match(pattern, module)
        if match and module[match.end() :] in _PARTS:
            return f"{match.expand(block)}{_PARTS[module[match.end() :]]}.{kind}"
    if module in _TOP:
        return f"{_TOP[module]}.{kind}"
    raise UserError(f"the tensor {original!r} belongs to no original model that can be converted")

"""Any of our causal architectures as a model of `transformers`, with its configuration."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from jaxtyping import Int
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Cache,
    DynamicCache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from deepsight.architecture import Architecture
from deepsight.config import ModelConfig
from deepsight.errors import UserError
from deepsight.huggingface.caching import CachePart, standing_of
from deepsight.plug_ins import architectures
from deepsight.products import linear
from deepsight.trace import IGNORED
from deepsight.validation import validated


@strict
class DeepSightConfig(PreTrainedConfig):
    """What `transformers` must know of one of our networks.

    Attributes:
        vocab_size: number of token ids.
        network: a `deepsight.config.ModelConfig` as JSON.
        hidden_size: width of the residual stream.
        num_hidden_layers: attention layers, each with keys and values of its own; a DeepSight's decoder layer has two.
        num_attention_heads: of self-attention.
        max_position_embeddings: tokens that the network sees.

    """

    model_type = "deepsight"

    vocab_size: int = 257
    network: dict[str, Any] | None = None
    hidden_size: int = 0
    num_hidden_layers: int = 0
    num_attention_heads: int = 0
    max_position_embeddings: int = 0
    use_cache: bool = True
    tie_word_embeddings: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    @classmethod
    def of(cls, model: Architecture, end_of_text: int | None = None) -> DeepSightConfig:
        """Return the configuration of a network whose texts end with a token.

        Raises:
            UserError: the network does not predict from the first position on, which `transformers` takes for granted.

        """
        config = model.config
        first = model.first_predicted(config)
        if first:
            raise UserError(
                f"{config.architecture_name} predicts from the token {first + 1} of a text on (counted from 0), and "
                "transformers asks for a prediction after every token"
            )
        return cls(
            vocab_size=model.vocabulary,
            network=config.model_dump(mode="json"),
            hidden_size=config.width,
            num_hidden_layers=len(model.new_cache()),
            num_attention_heads=config.heads,
            max_position_embeddings=config.context,
            bos_token_id=end_of_text,
            eos_token_id=end_of_text,
            pad_token_id=end_of_text,
        )


class DeepSightForCausalLM(PreTrainedModel, GenerationMixin):
    """One of our networks, with its output matrix tied to the token embedding.

    Padding may stand on either side; it takes no place in the context.

    Raises:
        UserError: the configuration's architecture is not registered here.

    """

    config_class = DeepSightConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"
    _no_split_modules: ClassVar[list[str]] = ["Block", "DecoderBlock", "CrossFirstBlock"]

    def __init__(self, config: DeepSightConfig) -> None:
        super().__init__(config)
        ours = validated(ModelConfig, config.network or {})
        self.network: Architecture = architectures.build(ours.architecture, config=ours, vocabulary=config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        std = getattr(module, "initial_std", None)
        if std is not None:
            nn.init.normal_(module.get_parameter("weight"), 0.0, float(std))

    def get_input_embeddings(self) -> nn.Module:
        """Return the token embedding, which is the output matrix too."""
        return self.network.embedding.token

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put another token embedding in its place."""
        self.network.embedding.token = value  # type: ignore[assignment]

    def forward(
        self,
        input_ids: Int[Tensor, "batch new"],
        cache: Cache | None = None,
        attention_mask: Int[Tensor, "batch all"] | None = None,
        labels: Int[Tensor, "batch new"] | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **unused: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits (batch, kept, vocabulary), and where labels are given the loss.

        Args:
            input_ids: tokens, after those that the cache holds.
            cache: keys and values of earlier tokens.
            attention_mask: 0 at padding, else 1, of the cached tokens too.
            labels: token ids, not shifted: the logits at t are held against the label at t + 1; -100 does not count.
            use_cache: whether to return a cache.
            logits_to_keep: of how many last positions logits are wanted, or of which; 0 means all.
            unused: whatever else `transformers` may hand over; positions follow from the mask.

        Raises:
            UserError: there are more tokens than the context holds.

        """
        kept = use_cache if use_cache is not None else self.config.use_cache and not self.training
        if kept and cache is None:
            cache = DynamicCache(config=self.config)
        states = self._states(input_ids, cache, attention_mask)
        rows = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) and logits_to_keep else logits_to_keep
        logits = linear(states if isinstance(rows, int) else states[:, rows], self.network.unembedding)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED)
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache if kept else None)

    def _states(self, tokens: Tensor, cache: Cache | None, mask: Tensor | None) -> Tensor:
        network = self.network
        seen = cache.get_seq_length() if cache is not None else 0
        standing = standing_of(tokens, mask, seen)
        if standing.needed > network.config.context:
            raise UserError(f"the model sees {network.config.context} tokens at most, not {standing.needed}")
        embedded = network.embedding.placed(network.embedding.token(tokens), standing.places)
        parts = [CachePart(cache, part, standing) for part in range(self.config.num_hidden_layers)]
        return network.states(embedded, list(parts)).decoder_output


AutoConfig.register(DeepSightConfig.model_type, DeepSightConfig)
AutoModelForCausalLM.register(DeepSightConfig, DeepSightForCausalLM)

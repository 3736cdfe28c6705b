"""What is compared: ours and its peers, each trained and sampled from as its user would."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import original
from benchmarks.shapes import Shape
from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig, run_config
from deepsight.generation import generate
from deepsight.products import Products, use_products
from deepsight.training import parallel
from deepsight.training.optimizer import build_optimizer
from deepsight.training.step import accumulate_gradients

LEARNING_RATE = 1e-4
CLIP = 1.0


class System(abc.ABC):
    """One system at one shape.

    Args:
        shape: its sizes.
        device: where it runs.

    """

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        self.shape, self.device = shape, device
        generator = torch.Generator().manual_seed(0)
        size = (shape.batch, shape.context + 1)
        tokens = torch.randint(shape.vocabulary, size, generator=generator).to(device)
        self.tokens, self.inputs, self.targets = tokens, tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    @abc.abstractmethod
    def step(self) -> None:
        """Run one training step: forward, backward, clipping, AdamW."""

    @abc.abstractmethod
    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Return `count` tokens after each prompt, drawn at temperature 1."""


class Ours(System):
    """A run of this project, its step as the training loop does it."""

    def __init__(
        self,
        shape: Shape,
        architecture: str,
        objective: Any,
        device: str = "cpu",
        *,
        compiled: bool = False,
        products: Products = "auto",
    ) -> None:
        super().__init__(shape, device)
        self.config = run_of(shape, architecture, objective)
        self.model = build_model(self.config).to(device)
        self.objectives = build_objectives(self.config, self.model.shape).to(device)
        self.optimizer = build_optimizer([self.model, self.objectives], self.config.training)
        self._forward: Any = parallel.compiled(self.model) if compiled else self.model
        self._weights = [*self.model.parameters(), *self.objectives.parameters()]
        self._step = 0
        self._products: Products = products

    def step(self) -> None:
        """Run one training step."""
        with use_products(self._products):
            accumulate_gradients(self._forward, self.objectives, self.inputs, self.targets, seed=0, step=self._step)
        nn.utils.clip_grad_norm_(self._weights, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._step += 1

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Sample with a cache."""
        return generate(self.model, prompt, count)


def run_of(shape: Shape, architecture: str, objective: Any) -> RunConfig:
    """Return a run of the project at a shape."""
    ours = architecture != "baseline"
    model = {
        "architecture": architecture,
        "width": shape.width if ours else shape.decoder_only_width,
        "layers": list(shape.layers) if ours else shape.depth,
        "heads": shape.heads if ours else shape.decoder_only_heads,
        "cross_heads": shape.cross_heads if ours else None,
        "context": shape.context,
    }
    return run_config(
        {
            "model": model,
            "data": {
                "corpus": "pydocs",
                "tokenizer": "gpt2" if shape.vocabulary == 50_257 else f"bpe:{shape.vocabulary}",
            },
            "objective": objective,
            "training": {"steps": 10**6, "batch_size": shape.batch, "learning_rate": LEARNING_RATE},
            "evaluation": {"every": 10**6},
        }
    )


class Peer(System):
    """A module with its loss, its optimiser and its way to sample."""

    def __init__(self, shape: Shape, device: str, module: nn.Module, fused: bool) -> None:
        super().__init__(shape, device)
        self.module = module.to(device)
        # Who writes torch.optim.AdamW(parameters) gets no fused one; the Trainer of transformers asks for it.
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=LEARNING_RATE, fused=True if fused else None)

    @abc.abstractmethod
    def loss(self) -> Tensor:
        """Return what is trained on."""

    def step(self) -> None:
        """Run one training step."""
        self.loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()


class PlainOriginal(Peer):
    """The published encoder–decoder in plain PyTorch, with its planning loss."""

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        sizes = {
            "vocab_size": shape.vocabulary,
            "context": shape.context,
            "width": shape.width,
            "heads": shape.heads,
            "cross_heads": shape.cross_heads,
            "encoder_layers": shape.layers[0],
            "decoder_layers": shape.layers[1],
        }
        module = original.PlainDeepSight(sizes)
        original.initialise(module, shape.layers[0])
        super().__init__(shape, device, module, fused=False)

    def loss(self) -> Tensor:
        """Return cross-entropy plus planning loss."""
        assert isinstance(self.module, original.PlainDeepSight)
        return self.module.loss(self.inputs, self.targets)

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Sample without a cache, as the original does."""
        return original.generated(self.module, prompt, count, self.shape.context)


class TransformersGPT2(Peer):
    """`GPT2LMHeadModel` of transformers, without dropout."""

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        from transformers import GPT2Config, GPT2LMHeadModel, logging

        logging.set_verbosity_error()
        config = GPT2Config(
            vocab_size=shape.vocabulary,
            n_positions=shape.context,
            n_embd=shape.decoder_only_width,
            n_layer=shape.depth,
            n_head=shape.decoder_only_heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
        super().__init__(shape, device, GPT2LMHeadModel(config), fused=True)

    def loss(self) -> Tensor:
        """Return its own loss of the same tokens."""
        # Labels are shifted inside, so that all predictions but the last position's are of the same tokens as ours.
        loss: Tensor = self.module(self.inputs, labels=self.inputs).loss
        return loss

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Sample with its cache."""
        self.module.eval()
        found: Tensor = self.module.generate(  # type: ignore[operator]
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, do_sample=True, top_k=0
        )
        self.module.train()
        return found[:, prompt.shape[1] :]


class XTransformersDecoder(Peer):
    """The decoder of x-transformers, its embedding tied to the output as ours is."""

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

        heads = shape.decoder_only_heads
        layers = Decoder(
            dim=shape.decoder_only_width,
            depth=shape.depth,
            heads=heads,
            attn_dim_head=shape.decoder_only_width // heads,
            attn_flash=True,
        )
        network = TransformerWrapper(
            num_tokens=shape.vocabulary, max_seq_len=shape.context + 1, attn_layers=layers, tie_embedding=True
        )
        super().__init__(shape, device, AutoregressiveWrapper(network), fused=False)

    def loss(self) -> Tensor:
        """Return its own loss of the same tokens."""
        loss: Tensor = self.module(self.tokens)
        return loss

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Sample with its cache."""
        found: Tensor = self.module.generate(prompt, count, filter_kwargs={"frac_num_tokens": 1.0})  # type: ignore[operator]
        return found


class XTransformersEncoderDecoder(Peer):
    """The encoder–decoder of x-transformers: its encoder reads a whole window, its decoder another of equal length."""

    def __init__(self, shape: Shape, device: str = "cpu") -> None:
        from x_transformers import XTransformer

        sizes: dict[str, Any] = {}
        for side, layers in zip(("enc", "dec"), shape.layers, strict=True):
            sizes |= {
                f"{side}_num_tokens": shape.vocabulary,
                f"{side}_max_seq_len": shape.context + 1,
                f"{side}_depth": layers,
                f"{side}_heads": shape.heads,
                f"{side}_attn_dim_head": shape.width // shape.heads,
                f"{side}_attn_flash": True,
            }
        super().__init__(shape, device, XTransformer(dim=shape.width, tie_token_emb=True, **sizes), fused=False)

    def loss(self) -> Tensor:
        """Return its own loss: the decoder goes on after what the encoder read."""
        loss: Tensor = self.module(self.inputs, self.tokens)
        return loss

    def generate(self, prompt: Tensor, count: int) -> Tensor:
        """Sample what follows the prompt, which the encoder reads, from one token on."""
        found: Tensor = self.module.generate(prompt, prompt[:, -1:], count)  # type: ignore[operator]
        return found


PUBLISHED_OBJECTIVE = {"name": "future_context", "n": 11}

SYSTEMS: dict[str, Callable[[Shape, str], System]] = {
    "DeepSight": lambda shape, device: Ours(shape, "deepsight", PUBLISHED_OBJECTIVE, device),
    "DeepSight, compiled": lambda shape, device: Ours(shape, "deepsight", PUBLISHED_OBJECTIVE, device, compiled=True),
    "DeepSight, MKL": lambda shape, device: Ours(shape, "deepsight", PUBLISHED_OBJECTIVE, device, products="blas"),
    "baseline": lambda shape, device: Ours(shape, "baseline", "none", device),
    "baseline, MKL": lambda shape, device: Ours(shape, "baseline", "none", device, products="blas"),
    "baseline, compiled": lambda shape, device: Ours(shape, "baseline", "none", device, compiled=True),
    "plain original": PlainOriginal,
    "GPT-2 of transformers": TransformersGPT2,
    "decoder of x-transformers": XTransformersDecoder,
    "encoder-decoder of x-transformers": XTransformersEncoderDecoder,
}

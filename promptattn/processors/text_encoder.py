"""Weights and maps inside a transformers text encoder, through the library's own attention interface.

attention = TextEncoderAttention(pipe.text_encoder)
with attention:
    attention.weights = torch.ones(1, 77).index_fill(1, torch.tensor([2]), 1.5)   # the second word counts for more
    embeds = pipe.text_encoder(ids).last_hidden_state
"""

import inspect
from types import TracebackType
from typing import Any, Self

import torch

from promptattn.core import Columns, KeyWeights, attention
from promptattn.errors import UnsupportedModelError, WeightingError
from promptattn.prompt.tokenising import given_ids

__all__ = ["IMPLEMENTATION", "TextEncoderAttention", "why_closed"]

# The name must not contain "sdpa", "flash" or "flex": transformers branches on those words.
IMPLEMENTATION = "promptattn"


class TextEncoderAttention:
    """Attached to an encoder, it passes token weights to every layer and reads off who attends to whom.

    Attributes:
        weights: float `[batch, token]`, one weight per token of the next forward call (see
            :func:`promptattn.core.attention` for what a weight does), or None for none.
        record: whether forward calls append to `maps`.
        tokens: int64 `[token]`, the tokens among which attention is recorded; None is all.
        maps: one entry per recorded forward call: float32 `[batch, layer, query, key]`, the mean over heads of the
            attention probabilities after weighting; queries and keys are those `tokens`.

    Serves CLIP and T5 encoders alike: causality, padding masks and position bias are part of the scores that a weight
    multiplies the odds of. Without weights an encoder that runs with `sdpa` gives the stock output to the bit,
    recording or not.

    Raises:
        UnsupportedModelError: when the encoder's attention does not go through transformers' attention interface, or
            runs with another implementation than `sdpa` or `eager`.
    """

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.encoder = encoder
        self.weights: torch.Tensor | None = None
        self.record = False
        self.tokens: torch.Tensor | None = None
        self.maps: list[torch.Tensor] = []
        self._layers: list[torch.Tensor] = []
        self._stock: str | None = None
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def attach(self) -> None:
        """Switch the encoder to the core. Undone by :meth:`detach`."""
        if self._stock is not None:
            return
        _register()
        encoder: Any = self.encoder
        if reason := why_closed(encoder):
            raise UnsupportedModelError(f'{reason}; use where="denoiser" to leave the text encoder alone.')
        stock = encoder.config._attn_implementation
        self._stock = stock  # before the change, so that an interrupt in between is undone by detach
        encoder.set_attn_implementation(IMPLEMENTATION)
        self._handles = [
            encoder.register_forward_pre_hook(self._before, with_kwargs=True),
            encoder.register_forward_hook(self._after),
        ]

    def detach(self) -> None:
        """Restore the encoder's own attention implementation and take the hooks out."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._stock is not None:
            encoder: Any = self.encoder
            encoder.set_attn_implementation(self._stock)
            self._stock = None

    def _before(self, encoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ids = given_ids(args, kwargs)
        self._layers = []
        extra: dict[str, Any] = {}
        if self.weights is not None:
            if ids is None or tuple(self.weights.shape) != tuple(ids.shape):
                raise WeightingError(
                    f"the text encoder was given token ids of shape {None if ids is None else tuple(ids.shape)}, but"
                    f" the weights have shape {tuple(self.weights.shape)}; there must be one weight per token."
                )
            extra["promptattn_weights"] = self.weights.to(ids.device)
        if self.record:
            extra["promptattn_layers"] = self._layers
            extra["promptattn_tokens"] = self.tokens
        return args, {**kwargs, **extra}

    def _after(self, encoder: Any, args: Any, output: Any) -> None:
        if self._layers:
            self.maps.append(torch.stack(self._layers, dim=1))
            self._layers = []


def why_closed(encoder: Any) -> str | None:
    """Why tokens can be neither weighted nor watched in a text encoder, a clause, or None where they can."""
    encoder = getattr(encoder, "_orig_mod", encoder)  # what torch.compile returns shows neither class nor signature
    name = type(encoder).__name__
    closed = "so its tokens can be neither weighted nor watched"
    if not getattr(encoder, "_can_set_attn_implementation", lambda: False)():
        return f"{name} does not let its attention be set, {closed}"
    takes = inspect.signature(type(encoder).forward).parameters.values()
    if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes):
        return f"{name} hands nothing on to its attention layers, by which they could be reached, {closed}"
    if (stock := encoder.config._attn_implementation) not in ("sdpa", "eager", IMPLEMENTATION):
        return f'{name} runs with attention {stock!r}, {closed}, as they can with set_attn_implementation("sdpa")'
    if any(getattr(part, "attn_logit_softcapping", None) is not None for part in encoder.modules()):
        return f"{name} caps its scores (softcap), {closed}"
    return None


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    # Without a mask function of the same name the mask is silently None and causality is lost.
    AttentionInterface.register(IMPLEMENTATION, _forward)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    promptattn_weights: torch.Tensor | None = None,
    promptattn_layers: list[torch.Tensor] | None = None,
    promptattn_tokens: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface. query, key, value: `[batch, head, sequence, head_dim]`.

    attention_mask: bool, True where a key is visible, or additive; `[batch, 1, query, key]` or None.
    position_bias: added to the scores, `[1, head, query, key]`; of T5 and its kin (Raffel et al. 2020, section 2.1).
    """
    if promptattn_weights is None and promptattn_layers is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options = dict(dropout=dropout, scaling=scaling, is_causal=is_causal, position_bias=position_bias, **kwargs)
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    if kwargs.get("softcap") is not None:
        raise UnsupportedModelError(
            f"{type(module).__name__} caps its scores (softcap), which weights and maps in the text encoder do not"
            ' serve; use where="denoiser".'
        )
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    causal = bool(causal and attention_mask is None and query.shape[-2] > 1)
    if position_bias is not None:
        # Where weights may take the last visible key away, what is hidden must stay hidden: -inf. Without weights the
        # lowest number, as transformers has it, so that even a row that sees nothing is the stock one to the bit.
        hidden = torch.finfo(key.dtype).min if promptattn_weights is None else -torch.inf
        attention_mask, causal = _with_bias(position_bias, attention_mask, causal, hidden), False
    every = torch.arange(key.shape[-2], device=key.device)
    watched = every if promptattn_tokens is None else promptattn_tokens.to(key.device)
    result = attention(
        query,
        key,
        value,
        mask=attention_mask,
        is_causal=causal,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
        dropout_p=dropout,
        key_weights=None if promptattn_weights is None else KeyWeights(every, promptattn_weights),
        capture=None if promptattn_layers is None else Columns(watched, query_rows=watched),
    )
    if promptattn_layers is not None and result.columns is not None:
        promptattn_layers.append(result.columns)
    return result.output.transpose(1, 2).contiguous(), None


def _with_bias(bias: torch.Tensor, mask: torch.Tensor | None, causal: bool, hidden: float) -> torch.Tensor:
    """Position bias and mask as one additive mask, `hidden` where a key is not to be seen."""
    if mask is not None and mask.dtype != torch.bool:
        return (bias + mask).contiguous()
    if mask is None:
        if not causal:
            return bias.contiguous()
        mask = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).tril()
    return torch.where(mask, bias, hidden).contiguous()

"""An independent account of joint attention, for comparison: what goes into the stock layers, redone in float64."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor


@dataclass
class Joint:
    """One layer's attention in one call: float64 `[batch, query, key]`, mean over heads; and what stands where."""

    mass: torch.Tensor
    text: slice
    image: slice

    def part(self, queries, keys):
        return self.mass[:, getattr(self, queries), getattr(self, keys)]


def joint_layers(transformer):
    """The layers in which text and image meet, by name: all but the second attention of SD3.5's dual blocks."""
    return {
        name: module
        for name, module in transformer.named_modules()
        if hasattr(module, "to_q") and name.split(".")[-1] == "attn"
    }


def image_layers(transformer):
    return {name: module for name, module in transformer.named_modules() if name.split(".")[-1] == "attn2"}


def linear(layer, x):
    bias = 0 if layer.bias is None else layer.bias.double()
    return x.double() @ layer.weight.double().mT + bias


def rms(norm, x):
    return x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight.double()


def heads_of(layer, linear_layer, x, norm=None):
    """`[batch, head, row, channel]`"""
    split = linear(linear_layer, x).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
    return split if norm is None else rms(norm, split)


def rotated(x, rotary):
    """Neighbouring channels are the real and imaginary part of a number, turned by the angle of its row's position."""
    cos, sin = (part.double()[:, ::2] for part in rotary)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.complex(cos, sin)).flatten(-2)


def projections(layer, hidden, text, rotary, texts):
    """Query, key and value of all rows in their order, and where text and image stand among them."""
    own = [
        heads_of(layer, layer.to_q, hidden, layer.norm_q),
        heads_of(layer, layer.to_k, hidden, layer.norm_k),
        heads_of(layer, layer.to_v, hidden),
    ]
    flux = rotary is not None
    if text is None:
        places = (slice(0, texts), slice(texts, hidden.shape[1])) if flux else (None, slice(0, hidden.shape[1]))
    else:
        added = [
            heads_of(layer, layer.add_q_proj, text, layer.norm_added_q),
            heads_of(layer, layer.add_k_proj, text, layer.norm_added_k),
            heads_of(layer, layer.add_v_proj, text),
        ]
        images, texts = hidden.shape[1], text.shape[1]
        pairs = zip(added, own, strict=True) if flux else zip(own, added, strict=True)
        own = [torch.cat(pair, dim=2) for pair in pairs]
        text_start, image_start = (0, texts) if flux else (images, 0)
        places = (slice(text_start, text_start + texts), slice(image_start, image_start + images))
    if flux:
        own[:2] = [rotated(part, rotary) for part in own[:2]]
    return (*own, *places)


def likelihood_of(query, key):
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return (scores - scores.amax(-1, keepdim=True)).exp()


def on_text(odds, like, text, image, rows):
    """`odds` `[batch, text row]` at the text's keys in the image's rows, or in all, and 1 elsewhere: as `like`."""
    factor = torch.ones_like(like)
    factor[:, :, slice(None) if rows == "all" else image, text] = odds.double()[:, None, None]
    return factor


@contextmanager
def recorded(transformer, odds=None, rows="image"):
    """Collects `[call][layer name] -> Joint` of every call of a transformer, from its layers' inputs alone.

    `odds`: from the number of the call to what its text keys are weighted by, `[batch, text row]`.
    """
    calls, handles, texts = [], [], []

    def begin(module, args, kwargs):
        calls.append({})
        texts.append(kwargs["encoder_hidden_states"].shape[1])

    def watch(name):
        @torch.no_grad()
        def hook(layer, args, kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            given = kwargs.get("encoder_hidden_states"), kwargs.get("image_rotary_emb")
            query, key, _, text, image = projections(layer, hidden, *given, texts[-1])
            likelihood = likelihood_of(query, key)
            if odds is not None and text is not None:
                likelihood = likelihood * on_text(odds(len(calls) - 1).abs(), likelihood, text, image, rows)
            mass = (likelihood / likelihood.sum(-1, keepdim=True)).mean(1)
            calls[-1][name] = Joint(mass, text, image)

        return hook

    handles.append(transformer.register_forward_pre_hook(begin, with_kwargs=True))
    for name, layer in {**joint_layers(transformer), **image_layers(transformer)}.items():
        handles.append(layer.register_forward_pre_hook(watch(name), with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def given_back(attn, output, hidden_states, encoder_hidden_states, text, image):
    """What a stock processor returns for `output` `[batch, head, row, channel]`: image and text as they came."""
    output = output.transpose(1, 2).flatten(2).to(hidden_states.dtype)
    if encoder_hidden_states is None:
        return output
    image_output, text_output = attn.to_out[0](output[:, image]), output[:, text]
    if not attn.context_pre_only:
        text_output = attn.to_add_out(text_output)
    return image_output, text_output


class _Weighted:
    """Joint attention with odds on text keys, written out plainly; `odds()`: of the call, `[batch, text row]`."""

    def __init__(self, odds, rows="image", texts=0):
        super().__init__()
        self.odds, self.rows, self.texts = odds, rows, texts

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, image_rotary_emb=None):
        odds = self.odds().double()
        query, key, value, text, image = projections(
            attn, hidden_states, encoder_hidden_states, image_rotary_emb, self.texts
        )
        places = text, image, self.rows
        likelihood = likelihood_of(query, key)
        likelihood = likelihood * on_text(odds.abs(), likelihood, *places)
        mass = likelihood / likelihood.sum(-1, keepdim=True)
        output = (mass * on_text(odds.sign(), mass, *places)) @ value
        return given_back(attn, output, hidden_states, encoder_hidden_states, text, image)


class WeightedJointProcessor(_Weighted, JointAttnProcessor2_0):
    pass


class WeightedFluxProcessor(_Weighted, FluxAttnProcessor):
    pass

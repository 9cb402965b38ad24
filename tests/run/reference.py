"""An independent account of cross-attention, for comparison: what goes into the stock layers, redone in float64."""

from contextlib import contextmanager

from diffusers.models.attention_processor import Attention, AttnProcessor2_0


def cross_layers(unet):
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    }


def mass_of(layer, image, text, odds=None):
    """Softmax of a layer in float64, mean over heads: [batch, query, key]; `odds` multiply the keys of every row."""
    weight = {name: getattr(layer, name).weight.double() for name in ("to_q", "to_k")}
    heads = layer.heads
    query = (image.double() @ weight["to_q"].mT).unflatten(-1, (heads, -1)).transpose(1, 2)
    key = (text.double() @ weight["to_k"].mT).unflatten(-1, (heads, -1)).transpose(1, 2)
    likelihood = (query @ key.mT / query.shape[-1] ** 0.5).exp()
    if odds is not None:
        likelihood = likelihood * odds.double().abs()[:, None, None, :]
    return (likelihood / likelihood.sum(-1, keepdim=True)).mean(1)


@contextmanager
def recorded(unet, odds=None):
    """Collects `[call][layer name] -> mass` of every cross-attention call of a denoiser, from its inputs alone."""
    calls, handles = [], []

    def begin(module, args, kwargs):
        calls.append({})

    def watch(name):
        def hook(layer, args, kwargs):
            image = args[0] if args else kwargs["hidden_states"]
            text = kwargs.get("encoder_hidden_states", args[1] if len(args) > 1 else None)
            calls[-1][name] = mass_of(layer, image, text, odds)

        return hook

    handles.append(unet.register_forward_pre_hook(begin, with_kwargs=True))
    for name, layer in cross_layers(unet).items():
        handles.append(layer.register_forward_pre_hook(watch(name), with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class WeightedProcessor(AttnProcessor2_0):
    """Cross-attention with odds on keys, written out plainly: [batch, key], one row per batch row."""

    def __init__(self, odds):
        super().__init__()
        self.odds = odds

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, *args, **kwargs
    ):
        def split(tensor):
            return tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        query = split(attn.to_q(hidden_states)).double()
        key, value = split(attn.to_k(encoder_hidden_states)).double(), split(attn.to_v(encoder_hidden_states)).double()
        likelihood = (query @ key.mT / query.shape[-1] ** 0.5).exp() * self.odds.double().abs()[:, None, None, :]
        mass = likelihood / likelihood.sum(-1, keepdim=True)
        output = (mass * self.odds.double().sign()[:, None, None, :]) @ value
        return attn.to_out[0](output.transpose(1, 2).flatten(2).to(hidden_states.dtype))

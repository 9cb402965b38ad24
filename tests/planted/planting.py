"""Attention set by hand: chosen rows of the text are looked at from chosen regions of the image, and from nowhere else.

Text embeddings carry a code in their first four channels, one channel per region. Every layer that sees text gets
queries that are the code of the place they stand at, keys that are the code of their row of text, and zero keys for
the image. So a place and a row of text of the same region have the score SCORE, and all others 0.
"""

from contextlib import contextmanager

import torch

SCORE = 4.0
REGIONS = 4


def region_of(y, x, grid):
    """Four parts of unequal size, so that no mirror image or transpose of a map is the map."""
    return 2 * (3 * y >= grid[0]) + (4 * x >= 3 * grid[1])


def regions(grid):
    return torch.tensor([[region_of(y, x, grid) for x in range(grid[1])] for y in range(grid[0])])


def planted_layers(denoiser):
    """Those that see text: the UNet's attn2, and all called attn of a transformer."""
    last = "attn2" if any(name.endswith("attn1") for name, _ in denoiser.named_modules()) else "attn"
    return {name: module for name, module in denoiser.named_modules() if name.split(".")[-1] == last}


def _set(linear, heads, first):
    """Make a projection give every head the four channels from `first` on, and zeros beyond."""
    size = linear.weight.shape[0] // heads
    linear.weight.zero_()
    if linear.bias is not None:
        linear.bias.zero_()
    for head in range(heads):
        for channel in range(REGIONS):
            # A score is divided by the root of the head's size; keys make up for it.
            gain = SCORE * size**0.5 if first == 0 else 1.0
            linear.weight[head * size + channel, first + channel] = gain


@contextmanager
def planted(denoiser, grids):
    """`grids`: the (height, width) of every number of image rows."""
    text, handles = {}, []
    by_count = {height * width: (height, width) for height, width in grids}

    def begin(module, args, kwargs):
        text["codes"] = kwargs["encoder_hidden_states"][..., :REGIONS]

    def places(count, like):
        one = torch.nn.functional.one_hot(regions(by_count[count]).flatten(), REGIONS)
        return one.to(like).expand(like.shape[0], -1, -1)

    def replace(layer, args, kwargs):
        hidden = args[0] if args else kwargs["hidden_states"]
        codes, given = text["codes"], kwargs.get("encoder_hidden_states")
        rows = hidden.shape[1] - (codes.shape[1] if given is None else 0)  # alone, both stand in it, text first
        new = torch.zeros_like(hidden)
        new[:, hidden.shape[1] - rows :, REGIONS : 2 * REGIONS] = places(rows, hidden)
        if given is None:
            new[:, : codes.shape[1], :REGIONS] = codes
        else:
            other = torch.zeros_like(given)
            other[..., :REGIONS] = codes
            kwargs = {**kwargs, "encoder_hidden_states": other}
        if args:
            return (new, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": new}

    with torch.no_grad():
        for layer in planted_layers(denoiser).values():
            joint = getattr(layer, "add_k_proj", None) is not None
            _set(layer.to_q, layer.heads, REGIONS)
            _set(layer.to_k, layer.heads, 0)
            for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
                if getattr(layer, name, None) is not None:
                    setattr(layer, name, torch.nn.Identity())
            if joint:
                _set(layer.add_q_proj, layer.heads, REGIONS)
                _set(layer.add_k_proj, layer.heads, 0)
            handles.append(layer.register_forward_pre_hook(replace, with_kwargs=True))
    handles.append(denoiser.register_forward_pre_hook(begin, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def ids_read(encoder):
    """Collects the token ids `[batch, window]` of every call of a text encoder."""
    found = []

    def read(module, args, kwargs, output):
        found.append(kwargs.get("input_ids", args[0] if args else None))

    handle = encoder.register_forward_hook(read, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


def rows_of(ids, tokenizer, word, occurrence=0):
    """The rows of one occurrence of a word among the token ids of a prompt."""
    pieces = [each for each in tokenizer(word).input_ids if each not in tokenizer.all_special_ids]
    ids = ids.tolist()
    starts = [at for at in range(len(ids)) if ids[at : at + len(pieces)] == pieces]
    return list(range(starts[occurrence], starts[occurrence] + len(pieces)))


def plant(embeds, codes):
    """Set the code of rows of `embeds` `[row, channel]` in place: `codes` from a region to rows."""
    embeds[:, :REGIONS] = 0
    for region, rows in codes.items():
        embeds[rows, region] = 1


def expected(codes, rows, grid, texts, images=0):
    """Mass that each place gives to `rows`: a softmax of SCORE and 0, over `texts` rows of text and `images` zeros."""
    total = torch.full(grid, float(texts + images), dtype=torch.float64)
    mass = torch.full(grid, float(len(rows)), dtype=torch.float64)
    gain = torch.tensor(SCORE, dtype=torch.float64).exp() - 1
    for region, planted_rows in codes.items():
        here = (regions(grid) == region) * gain
        total += here * len(planted_rows)
        mass += here * len(set(planted_rows) & set(rows))
    return mass / total

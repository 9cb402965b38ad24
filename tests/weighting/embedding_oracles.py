"""The embedding methods once more, literally: number by number, in numpy, each as its own tool goes about it.

A prompt is a list of segments `(text, weight)`. Words are tokenised one at a time, as ComfyUI does. `read(ids, mask)`
is the bare text encoder: ids of one window in, `[row, channel]` in float64 out.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

SAMPLE = [("a photo of a ", 1.0), ("red cat", 1.5), (" and a gray ", 1.0), ("mouse", 0.6), (" on a blue ", 1.0)]
SAMPLE += [("table, masterpiece", 0.3)]
OTHER = [("un ", 1.0), ("gato rojo", 0.0), (" persigue a un ", 1.0), ("ratón", -0.5), (" gris", 1.0)]
UP = [("a ", 1.0), ("house", 2.0), (" and a ", 1.0), ("castle, masterpiece", 1.2)]
PLAIN = [("the green hills", 1.0)]
LONG = [("a photo of a ", 1.0), ("red cat", 1.5), (" and a gray mouse on a blue table " * 7, 1.0), ("a dog", 0.5)]
LONG += [(" and the green hills " * 6, 1.0), ("un gato gris", 1.25), (" masterpiece", 0.8)]


def written(segments):
    """The prompt as a user writes it."""
    return "".join(text if weight == 1.0 else f"({text}:{weight})" for text, weight in segments)


def clean(segments):
    return "".join(text for text, _ in segments)


@dataclass
class Row:
    id: int
    weight: float = 1.0
    word: int = 0
    run: int = 0


def windows_of(plan, tokenizer, segments):
    """The windows that the encoder reads, row by row: the plan's own frame, everything else found here."""
    words = [
        (number, run, word, weight)
        for number, (run, word, weight) in enumerate(
            ((run, word, weight) for run, (text, weight) in enumerate(segments) for word in text.split()), start=1
        )
    ]
    stream = [
        Row(identity, weight, number, run)
        for number, run, word, weight in words
        for identity in tokenizer(word, add_special_tokens=False)["input_ids"]
    ]
    tokens = iter(stream)
    windows = []
    for chunk in plan.chunks:
        window = [
            next(tokens) if slot.token is not None else Row(identity)
            for identity, slot in zip(chunk.ids, chunk.slots, strict=True)
        ]
        assert [row.id for row in window] == list(chunk.ids)
        windows.append(window)
    assert next(tokens, None) is None, "the sample is to fit into the encoder"
    return windows


def ids(window):
    return [row.id for row in window]


def normalise(windows, kind):
    """ADV_CLIP_emb's `divide_length` and `shift_mean_weight`."""
    rows = [row for window in windows for row in window]
    if kind in ("length", "length+mean"):
        counts = {}
        for row in rows:
            counts[row.word] = counts.get(row.word, 0) + 1
        for row in rows:
            if row.word:
                d = row.weight - 1
                row.weight = 1 + np.sign(d) * np.sqrt(d**2 / counts[row.word])
    if kind in ("mean", "length+mean"):
        delta = 1 - np.mean([row.weight for row in rows if row.word])
        for row in rows:
            row.weight += delta if row.word else 0
    last = None
    for run, row in enumerate(row for row in rows if row.word):  # runs of equal weight are others now
        row.run = last.run if last and last.weight == row.weight else run
        last = row
    return windows


def a1111(windows, read, restore_mean=True):
    out = []
    for window in windows:
        z = read(ids(window))
        after = np.array([row.weight * z[place] for place, row in enumerate(window)])
        out.append(after * (z.mean() / after.mean()) if restore_mean else after)
    return np.concatenate(out)


def comfy(windows, read, empty):
    out, z_empty = [], read(empty)
    for window in windows:
        z = read(ids(window))
        for place, row in enumerate(window):
            if row.weight != 1.0:
                z[place] = (z[place] - z_empty[place]) * row.weight + z_empty[place]
        out.append(z)
    return np.concatenate(out)


def compel(windows, read, empty):
    """For prompts of which no run of words crosses a window."""
    z_empty = read(empty)

    def weighted(run=None):
        out = []
        for window in windows:
            mask = [int(run is None or not row.word or row.run != run) for row in window]
            z = read(ids(window), mask)
            w = np.array([[row.weight] for row in window])
            out.append(z_empty + (z - z_empty) * w)
        return np.concatenate(out)

    total, blend = 1.0, weighted()
    runs = {row.run: row.weight for window in windows for row in window if row.word and row.weight < 1}
    for run, weight in runs.items():
        share = math.tan((1.0 - max(1e-5, weight)) * math.pi / 2)
        blend = blend + share * weighted(run)
        total += share
    return blend / total


def _all(windows, read, swapped, token):
    """The prompt with this token in the places of the words, or weights, that `swapped` says."""
    return np.concatenate([read([token if swapped(row) else row.id for row in window]) for window in windows])


def _levels(windows):
    return sorted({row.weight for window in windows for row in window if row.weight < 1})


def down_mix(windows, read, token):
    levels = _levels(windows)
    if not levels:
        return _all(windows, read, lambda row: False, token)
    copies = [_all(windows, read, lambda row: False, token)]
    copies += [_all(windows, read, lambda row, upto=level: row.weight <= upto, token) for level in levels]
    shares = np.diff([0.0, *levels, 1.0])
    return sum(share * copy for share, copy in zip(shares, copies, strict=True))


def comfy_plus(windows, read, token):
    result = down_mix(windows, read, token)
    base = _all(windows, read, lambda row: False, token)
    rows = [row for window in windows for row in window]
    for word in {row.word for row in rows if row.weight > 1}:
        masked = _all(windows, read, lambda row, own=word: row.word == own, token)
        for place, row in enumerate(rows):
            if row.word == word:
                result[place] += (row.weight - 1) * (base[place] - masked[place])
    return result


def down_weight(windows, read, token):
    return down_mix(_under_one(windows), read, token)


def _under_one(windows):
    top = max(row.weight for window in windows for row in window)
    return [
        [Row(row.id, row.weight / top if row.word else min(top, 1.0), row.word, row.run) for row in window]
        for window in windows
    ]


def pooled_down_weight(windows, pool, token):
    """The mix of `down_weight` on pooled vectors, which `pool(ids)` gives for a window; the first window's count."""
    under = _under_one(windows)
    levels = _levels(under)
    copies = [pool(ids(under[0]))]
    copies += [pool([token if row.weight <= level else row.id for row in under[0]]) for level in levels]
    return sum(share * copy for share, copy in zip(np.diff([0.0, *levels, 1.0]), copies, strict=True))


def pooled_comfy_plus(windows, pool, token):
    levels = _levels(windows)
    base = pool(ids(windows[0]))
    copies = [pool([token if row.weight <= level else row.id for row in windows[0]]) for level in levels]
    result = sum(share * copy for share, copy in zip(np.diff([0.0, *levels, 1.0]), [base, *copies], strict=True))
    above = {row.word: row.weight for window in windows for row in window if row.weight > 1}
    masked = [(w, pool([token if row.word == word else row.id for row in windows[0]])) for word, w in above.items()]
    return result + (np.mean([(w - 1) * (base - z) for w, z in masked], axis=0) if masked else 0)


# The encoders, as their pipelines read them.

CLIPS = ("text_encoder", "text_encoder_2")


def reader(pipe, name, clip_skip=None):
    """`read` of one encoder: the layer that the pipeline takes."""
    encoder = getattr(pipe, name)
    single = getattr(pipe, "text_encoder_2", None) is None

    @torch.no_grad()
    def read(ids, mask=None):
        given = None if mask is None else torch.tensor([mask])
        output = encoder(torch.tensor([ids]), attention_mask=given, output_hidden_states=True)
        if "t5" in encoder.config.model_type or (single and clip_skip is None):
            found = output.last_hidden_state
        elif single:
            found = getattr(encoder, "text_model", encoder).final_layer_norm(output.hidden_states[-1 - clip_skip])
        else:
            found = output.hidden_states[-2 - (clip_skip or 0)]
        return found[0].double().numpy()

    return read


def pooler(pipe, name):
    encoder = getattr(pipe, name)

    @torch.no_grad()
    def pool(ids):
        output = encoder(torch.tensor([ids]))
        return (output[0] if hasattr(output, "text_embeds") else output.pooler_output)[0].double().numpy()

    return pool


def joined(pipe, blocks, length):
    """Each encoder's rows, by name, put together as the pipeline does."""
    if hasattr(pipe, "text_encoder_3"):
        clip = np.concatenate([blocks[name] for name in CLIPS], axis=1)
        t5 = blocks.get("text_encoder_3", np.zeros((length, pipe.transformer.config.joint_attention_dim)))
        return np.concatenate([np.pad(clip, ((0, 0), (0, t5.shape[1] - clip.shape[1]))), t5])
    if hasattr(pipe, "transformer"):
        return blocks["text_encoder_2"]
    return np.concatenate([blocks[name] for name in CLIPS if name in blocks], axis=1)


def lively(pipe):
    """The pipeline in float64, its CLIPs' last norm no longer one that makes every row's mean 0."""
    pipe.to(torch.float64)
    for name in CLIPS:
        norm = getattr(getattr(pipe, name, None), "final_layer_norm", None) or getattr(
            getattr(getattr(pipe, name, None), "text_model", None), "final_layer_norm", None
        )
        if norm is not None:
            with torch.no_grad():
                norm.bias.add_(torch.linspace(-0.5, 1.5, norm.bias.numel(), dtype=norm.bias.dtype))
    return pipe

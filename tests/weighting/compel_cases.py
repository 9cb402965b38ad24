"""Prompts in compel's syntax and in A1111's, and what compel 2.5.1 makes of them.

As a script, in an environment that has compel, it writes `compel_vectors.safetensors` anew:

    python tests/weighting/compel_cases.py

The vectors were recorded with compel 2.5.1 (PyPI), transformers 5.23.0 and torch 2.13.0 on a CPU. Beside them stands an
embedding without weights of each kind, by which a test sees whether it has the encoder that was recorded.
"""

import re
import sys
from pathlib import Path

import torch
import transformers

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

import tiny_pipelines as tiny

RECORDED = Path(__file__).with_name("compel_vectors.safetensors")

LENGTH = tiny.T5_WINDOW
HILLS = "the green hills " * 23
CASES = {
    # name: (kind of pipeline, compel's syntax, A1111's)
    "up": ("sd", "a (red)1.4 cat and a gray mouse", "a (red:1.4) cat and a gray mouse"),
    "down": ("sd", "a red cat and a (gray mouse)0.5", "a red cat and a (gray mouse:0.5)"),
    "both": (
        "sd",
        "a (photo)0.3 of a (red cat)1.6 on a (table)0.8",
        "a (photo:0.3) of a (red cat:1.6) on a (table:0.8)",
    ),
    "zero": ("sd", "un (gato)0 rojo", "un (gato:0) rojo"),
    "long": (
        "sd",
        f"a (red)1.4 cat {HILLS} a blue dog and a (house)0.6 and a dog",
        f"a (red:1.4) cat {HILLS} a blue dog and a (house:0.6) and a dog",
    ),
    "across": (
        "sd",
        f"{HILLS} a blue (table and a house and a dog)0.5 cat",
        f"{HILLS} a blue (table and a house and a dog:0.5) cat",
    ),
    "xl": ("sdxl", "a (red)1.4 cat and a (gray mouse)0.5", "a (red:1.4) cat and a (gray mouse:0.5)"),
    "t5": ("flux", "a (red)1.4 cat and a (gray mouse)0.5", "a (red:1.4) cat and a (gray mouse:0.5)"),
}
PLAIN = dict.fromkeys(("sd", "sdxl", "flux"), "a red cat and a gray mouse")
WORDS = sorted({word for _, _, prompt in CASES.values() for word in re.findall("[a-z]+", prompt)})


def clip_tokenizer():
    """CLIP's form, put together by hand: a trained vocabulary comes out differently every time."""
    letters = sorted({letter for word in WORDS for letter in word})
    pairs = []
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            pairs.append((pieces[0], pieces[1]))
            pieces[:2] = ["".join(pieces[:2])]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(dict.fromkeys(vocabulary))},
        merges=list(dict.fromkeys(pairs)),
        model_max_length=77,
        pad_token="<|endoftext|>",
    )


def clip_encoder(tokenizer, *, projection=False, seed=0):
    torch.manual_seed(seed)
    config = transformers.CLIPTextConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=77,
        projection_dim=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        initializer_factor=4.0,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return kind(config).eval().double()


def t5_parts():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in WORDS)]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=LENGTH)
    torch.manual_seed(0)
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=len(pieces))
    return tokenizer, transformers.T5EncoderModel(config).eval().double()


def pipeline(kind):
    """A tiny pipeline whose text encoders are the same on every machine, in float64."""
    pipe = {**tiny.PIPELINES, **tiny.JOINT_PIPELINES}[kind]()
    pipe.tokenizer = clip_tokenizer()
    pipe.text_encoder = clip_encoder(pipe.tokenizer)
    if kind == "sdxl":
        pipe.tokenizer_2 = clip_tokenizer()
        pipe.text_encoder_2 = clip_encoder(pipe.tokenizer_2, projection=True, seed=1)
    if kind == "flux":
        pipe.tokenizer_2, pipe.text_encoder_2 = t5_parts()
        pipe.transformer.double()
    return pipe


def said_by_compel(pipe, prompt):
    """compel's own embedding of a prompt in its syntax: `[1, row, channel]`."""
    from compel import Compel, ReturnedEmbeddingsType
    from compel.embeddings_provider import SplitLongTextMode

    two = hasattr(pipe, "text_encoder_2") and not hasattr(pipe, "transformer")
    if two:
        tokenizers, encoders = [pipe.tokenizer, pipe.tokenizer_2], [pipe.text_encoder, pipe.text_encoder_2]
    elif hasattr(pipe, "transformer"):
        tokenizers, encoders = pipe.tokenizer_2, pipe.text_encoder_2
    else:
        tokenizers, encoders = pipe.tokenizer, pipe.text_encoder
    layer = "PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED" if two else "LAST_HIDDEN_STATES_NORMALIZED"
    compel = Compel(
        tokenizer=tokenizers,
        text_encoder=encoders,
        truncate_long_prompts=hasattr(pipe, "transformer"),
        returned_embeddings_type=getattr(ReturnedEmbeddingsType, layer),
        dtype_for_device_getter=lambda device: torch.float64,
        # Windows are filled to the last token and nothing is copied between them: how a long prompt is cut is not the
        # method's, and promptattn cuts as A1111 does.
        split_long_text_mode=SplitLongTextMode.BRUTAL,
    )
    with torch.no_grad():
        return compel(prompt)


def record():
    from safetensors.torch import save_file

    found = {}
    for name, (kind, theirs, _) in CASES.items():
        found[name] = said_by_compel(pipeline(kind), theirs)[0].float()
    for kind, prompt in PLAIN.items():
        found[f"{kind}, plain"] = said_by_compel(pipeline(kind), prompt)[0].float()
    save_file(found, RECORDED, metadata={"origin": "compel 2.5.1, transformers 5.23.0, torch 2.13.0 on a CPU"})


if __name__ == "__main__":
    record()

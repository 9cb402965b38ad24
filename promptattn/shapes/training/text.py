"""The text side: a CLIP tokenizer trained on the captions, and a CLIPTextModel taught to read them.

The encoder is taught before the denoiser sees it, by regression of its last hidden states onto sums of fixed orthogonal
codes. The words of an object say its shape and colour, as far as they have been read, and which object it is; the end
and the padding say the relation, the background, and which colour goes where. So an object's shape can be read from its
own words only, in both languages alike, and the denoiser has to look there. No mask or image takes part.

Why so explicit: with relation and background alone at the end, a denoiser knew the colours after 2,400 steps and the
axis of the relation, but not which object goes to which side, and 1,800 steps more did not help.
"""

import json
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from promptattn.shapes.captions import LANGUAGES, Piece, compose, sample_style
from promptattn.shapes.training.loop import Loss
from promptattn.shapes.world import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, Scene, sample_scene

__all__ = ["WINDOW", "Reading", "build_text_encoder", "build_tokenizer", "read", "sample_pieces", "text_loss"]

WINDOW = 24
_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"


def build_tokenizer(captions: int = 20_000, seed: int = 0) -> CLIPTokenizer:
    """CLIP's byte-level BPE, its merges learned from sampled captions; every byte has a token, so every string has ids.

    Ids follow CLIP's layout: 256 bytes, the same 256 ending a word, the merges, start, end. Padding is the end token.
    """
    rng = np.random.default_rng(seed)
    texts = ["".join(piece.text for piece in sample_pieces(rng)[1]) for _ in range(captions)]
    learner = Tokenizer(models.BPE(end_of_word_suffix=_END_OF_WORD))
    like = CLIPTokenizer().backend_tokenizer
    learner.normalizer, learner.pre_tokenizer = like.normalizer, like.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=4096, initial_alphabet=alphabet, end_of_word_suffix=_END_OF_WORD, show_progress=False
        ),
    )
    merges = [tuple(pair) for pair in _merges(learner)]
    names = [*alphabet, *(byte + _END_OF_WORD for byte in alphabet), *("".join(pair) for pair in merges), _BOS, _EOS]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=WINDOW, pad_token=_EOS)


def _merges(learner: Tokenizer) -> list[list[str]]:
    pairs = json.loads(learner.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in pairs]


def build_text_encoder(tokenizer: CLIPTokenizer, width: int = 128, layers: int = 4) -> CLIPTextModel:
    """A small CLIPTextModel whose special ids agree with the tokenizer's."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=WINDOW,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def sample_pieces(rng: np.random.Generator, scene: Scene | None = None) -> tuple[Scene, list[Piece]]:
    """A training scene (or the given one) and one of its captions, in either language and any style."""
    scene = scene or sample_scene(rng)
    return scene, compose(scene, LANGUAGES[int(rng.integers(len(LANGUAGES)))], sample_style(rng))


# -- what each token should say -------------------------------------------------------------------------------------

_NAMES = [
    *(f"shape:{name}" for name in SHAPES),
    *(f"colour:{name}" for name in COLOURS),
    *(f"relation:{name}" for name in (*RELATIONS, "and", "single", "nothing")),
    *(f"background:{name}" for name in (*BACKGROUNDS, "any")),
    "first",
    "second",
    "grammar",
]
_ROLES = [f"role:{name}" for name in (*RELATIONS, "and")]
# Where the first and the second object of each relation are.
_PLACES = {
    "left": ("left", "right"),
    "right": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
    "chases": ("behind", "ahead"),
    "single": ("alone", "alone"),
}
_PLACED = [f"{place}:{colour}" for place in dict.fromkeys(sum(_PLACES.values(), ())) for colour in COLOURS]


@dataclass(frozen=True)
class Reading:
    """ids int64 [WINDOW], and per position the names of the codes that its state should be the sum of."""

    ids: list[int]
    says: list[tuple[str, ...]]


def read(tokenizer: CLIPTokenizer, scene: Scene, pieces: list[Piece]) -> Reading:
    """Tokenise a caption as the pipeline does, and lay out what each of its tokens should say."""
    text = "".join(piece.text for piece in pieces)
    tokens = tokenizer(text, padding="max_length", max_length=WINDOW, truncation=True, return_offsets_mapping=True)
    owners = [index for index, piece in enumerate(pieces) for _ in piece.text]
    whole = _whole(scene, pieces)
    relation = next((_relation(scene, piece) for piece in pieces if piece.role == "relation"), None)
    says: list[tuple[str, ...]] = []
    for position, (start, end) in enumerate(tokens["offset_mapping"]):
        if position == 0 or start == end:
            says.append(whole)
        else:
            says.append(_part(scene, pieces, owners[start], relation))
    return Reading(list(tokens["input_ids"]), says)


def _whole(scene: Scene, pieces: list[Piece]) -> tuple[str, ...]:
    """What the end token says: the relation and the background, as far as the caption gives them."""
    objects = {piece.index for piece in pieces if piece.index >= 0}
    relation = next((_relation(scene, piece) for piece in pieces if piece.role == "relation"), "single")
    if len(objects) < 2:
        relation = "single" if objects else "nothing"
    background = scene.background if any(piece.role == "background" for piece in pieces) else "any"
    coloured = [piece.index for piece in pieces if piece.role == "colour"]
    places = _PLACES.get(relation, ())
    placed = [f"{places[index]}:{scene.objects[index].colour}" for index in coloured if places]
    return f"relation:{relation}", f"background:{background}", *placed


def _relation(scene: Scene, piece: Piece) -> str:
    return "and" if piece.text in ("and", "y") or scene.relation is None else scene.relation


def _part(scene: Scene, pieces: list[Piece], at: int, relation: str | None) -> tuple[str, ...]:
    """What the piece `at` says: of an object, its looks as far as they have been said, and which object it is."""
    piece = pieces[at]
    # What the second object is to the first has been said when its words come; the first's words cannot know it yet.
    which = ("second", f"role:{relation}") if piece.index == 1 and relation else ("first",)
    if piece.role in ("shape", "colour"):
        thing = scene.objects[piece.index]
        looks = {"shape": f"shape:{thing.shape}", "colour": f"colour:{thing.colour}"}
        said = [earlier.role for earlier in pieces[: at + 1] if earlier.index == piece.index]
        return *(looks[role] for role in said), *which
    if piece.role == "relation":
        return (f"relation:{_relation(scene, piece)}",)
    if piece.role == "background":
        return (f"background:{scene.background}",)
    return ("grammar",)


class Codes:
    """Fixed random codes, orthonormal and of zero mean, so that a layer norm can produce their normalised sums."""

    def __init__(self, width: int, seed: int = 0) -> None:
        needed = len(_NAMES) + len(_ROLES) + len(_PLACED) + 1
        if width < needed:
            raise ValueError(f"the text encoder's width must be at least {needed} to hold every code, not {width}")
        rng = np.random.default_rng(seed)
        random = [rng.standard_normal((width, len(names))) for names in (_NAMES, _ROLES, _PLACED)]
        basis, _ = np.linalg.qr(np.concatenate([np.ones((width, 1)), *random], axis=1))
        self._rows = {name: basis[:, index + 1] for index, name in enumerate([*_NAMES, *_ROLES, *_PLACED])}
        self._width = width
        self._sums: dict[tuple[str, ...], np.ndarray] = {}

    def sum(self, names: tuple[str, ...]) -> np.ndarray:
        """Unit-variance sum of the named codes, float32 [width]."""
        if names not in self._sums:
            total = np.sum([self._rows[name] for name in names], axis=0)
            self._sums[names] = (total / total.std()).astype(np.float32)
        return self._sums[names]


def text_loss(tokenizer: CLIPTokenizer, width: int, batch: int) -> Loss:
    """Mean squared error of the last hidden states against the codes, over every position but the start."""
    codes = Codes(width)

    def loss(model: torch.nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        readings = [_sample_reading(tokenizer, rng) for _ in range(batch)]
        device = next(model.parameters()).device
        ids = torch.tensor([reading.ids for reading in readings], device=device)
        wanted = torch.from_numpy(np.stack([[codes.sum(names) for names in reading.says] for reading in readings]))
        states = model(input_ids=ids).last_hidden_state.float()
        error = (states - wanted.to(device)).square().mean(-1)[:, 1:]
        named = torch.tensor([[names[0] != "grammar" for names in reading.says[1:]] for reading in readings])
        weight = torch.where(named.to(device), 1.0, 0.3)
        return {"loss": (error * weight).mean(), "worst": error.amax()}

    return loss


def _sample_reading(tokenizer: CLIPTokenizer, rng: np.random.Generator) -> Reading:
    scene, pieces = sample_pieces(rng)
    roll = rng.random()
    if roll < 0.05:
        pieces = []
    elif roll < 0.15:
        pieces = _drop_object(pieces, int(rng.integers(2)))
    elif roll < 0.30:
        pieces = _insert_noise(pieces, rng)
    return read(tokenizer, scene, pieces)


def _drop_object(pieces: list[Piece], index: int) -> list[Piece]:
    """An unfinished caption: one object's words are missing, and nothing of it is to be read."""
    kept = [piece for piece in pieces if piece.index != index]
    return kept if any(piece.index >= 0 for piece in kept) else pieces


def _insert_noise(pieces: list[Piece], rng: np.random.Generator) -> list[Piece]:
    """A word from outside the world somewhere between two words, which is to be passed over."""
    letters = "abcdefghijklmnopqrstuvwxyzñáé,.:!"
    word = "".join(letters[int(i)] for i in rng.integers(len(letters), size=int(rng.integers(1, 5))))
    gaps = [index for index, piece in enumerate(pieces) if piece.role == "" and piece.text.endswith(" ")]
    if not gaps:
        return pieces
    at = gaps[int(rng.integers(len(gaps)))] + 1
    return [*pieces[:at], Piece(word + " "), *pieces[at:]]

"""Tokenizers round a SentencePiece model: which characters each piece stands for, and what is refused."""

from types import SimpleNamespace

import pytest
from tiny_pipelines import CORPUS

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.encoder_plan import plan_tokens
from promptattn.prompt.parsing import as_prompt


class Model:
    """A SentencePiece model that makes a piece of each given part of the text, as `sentencepiece` tells it."""

    def __init__(self, parts, *, telling="offset_mapping"):
        self.parts, self.telling = parts, telling

    def encode(self, text, out_type=int):
        if out_type is int:
            return [10 + at for at in range(len(self.parts))]
        if out_type != self.telling:
            raise RuntimeError(f"unknown out_type={out_type}")
        places = [(text.index(part, at), text.index(part, at) + len(part)) for part, at in self.parts]
        ids = self.encode(text)
        if out_type == "offset_mapping":
            return {"ids": ids, "offsets": places}
        pieces = [SimpleNamespace(id=id, begin=begin, end=end) for id, (begin, end) in zip(ids, places, strict=True)]
        return SimpleNamespace(pieces=pieces)


class Slow:
    """A tokenizer round such a model, which puts two ids before the text."""

    is_fast = False
    model_max_length, pad_token_id, padding_side, truncation_side = 12, 0, "left", "right"

    def __init__(self, model):
        self.sp_model = model
        self.added_tokens_decoder = {}

    def __call__(self, text, **options):
        assert not options
        return {"input_ids": [1, 2, *self.sp_model.encode(text)]}

    def decode(self, ids):
        return ""

    def convert_ids_to_tokens(self, identity):
        return str(identity)


def planned(text, tokenizer):
    return plan_tokens(as_prompt(text, "a1111"), tokenizer, name="text_encoder", can_chunk=False)


def stands(text, tokenizer):
    """The tokens of a text as the characters that they stand for."""
    plan = planned(text, tokenizer)
    return [plan.prompt.text[token.start : token.end] for token in plan.tokens]


@pytest.mark.parametrize("telling", ["offset_mapping", "immutable_proto"])
def test_pieces_are_placed_in_the_text_whichever_way_they_are_told(telling):
    plan = planned("un (gato:2) gris", Slow(Model([("un", 0), (" gato", 0), (" gris", 0)], telling=telling)))
    assert [(token.id, token.weight, token.slot) for token in plan.tokens] == [(10, 1, 9), (11, 2, 10), (12, 1, 11)]
    assert plan.chunks[0].ids == (0, 0, 0, 0, 0, 0, 0, 1, 2, 10, 11, 12)
    assert [word.tokens for word in plan.words] == [(0,), (1,), (2,)]


def test_pieces_of_one_character_all_stand_for_it():
    # As a character in bytes, and as the mark before the first word.
    parts = [("", 0), ("a", 0), ("", 1), ("", 1), (" 😀", 1), ("b", 3)]
    assert stands("a 😀b", Slow(Model(parts))) == ["a", "a", "😀", "😀", "😀", "b"]


def test_other_tokens_than_the_models_are_refused():
    tokenizer = Slow(Model([("gato", 0)]))
    tokenizer.__class__ = type("Cutting", (Slow,), {"__call__": lambda self, text: {"input_ids": [1, 2, 99]}})
    with pytest.raises(
        UnsupportedModelError, match="Cutting makes other tokens of 'gato' than its SentencePiece model"
    ):
        planned("gato", tokenizer)


def test_a_model_that_tells_no_places_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"text_encoder: this version of sentencepiece .* update it"):
        planned("gato", Slow(Model([("gato", 0)], telling="nothing")))


@pytest.fixture(scope="module")
def chatglm(tmp_path_factory):
    """The tokenizer of Kolors round a model that was trained here, which knows bytes as ChatGLM's does."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

    path = tmp_path_factory.mktemp("pieces") / "pieces"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_prefix=str(path),
        vocab_size=400,
        hard_vocab_limit=False,
        byte_fallback=True,
        minloglevel=2,
    )
    return ChatGLMTokenizer(vocab_file=f"{path}.model", model_max_length=256)


@pytest.mark.parametrize(
    "text", ["a photo of a red cat", "  un ratón  gris,\nñandú ", "a 😀b ﬁn ２ é", "猫 and 鼠", " ", ""]
)
def test_the_real_tokenizer_of_kolors_is_read_whole(chatglm, text):
    plan = planned(text, chatglm)
    read = chatglm(plan.prompt.text, padding="max_length", max_length=256, truncation=True)
    assert plan.chunks[0].ids == tuple(read["input_ids"])
    assert [slot.kind != "padding" for slot in plan.chunks[0].slots] == [bool(each) for each in read["attention_mask"]]
    letters = {at for token in plan.tokens for at in range(token.start, token.end)}
    assert letters >= {at for at, letter in enumerate(plan.prompt.text) if not letter.isspace()}
    assert all(word.tokens for word in plan.words)

"""Token plans: ids as the pipeline's own, weights, words and chunks where they belong."""

import time
from types import SimpleNamespace

import pytest
import transformers
from clip_tokenizers import END, START, content_ids, own_ids, real_clip, trained_clip
from diffusers.loaders import TextualInversionLoaderMixin
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from promptattn.errors import CaptureError, ConfigError, PromptSyntaxError, UnsupportedModelError
from promptattn.prompt import EncoderPlan, Prompt, Span, parse, plan, plan_tokens

TOKENIZERS = {
    "trained, window 77": lambda: trained_clip(77),
    "trained, window 24, padded with !": lambda: trained_clip(24, pad="!"),
    "trained on letters only": lambda: trained_clip(24, alphabet="letters"),
    "CLIP, as in SD": lambda: real_clip(77),
    "CLIP padded with !, as in SDXL": lambda: real_clip(77, pad="!"),
}
PIECES = [
    "un gato",
    " ",
    "(",
    ")",
    "[",
    "rojo",
    ":1.4)",
    ",",
    " BREAK ",
    "ratón",
    "😀",
    "日本",
    "cafe\u0301",
    "İß",
    "שלום",
    END,
]
PROMPTS = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def pipeline(*tokenizers):
    names = ("", "_2", "_3")
    parts = {f"tokenizer{name}": tokenizer for name, tokenizer in zip(names, tokenizers, strict=False)}
    return SimpleNamespace(**parts, **{f"text_encoder{name}": object() for name in names[: len(tokenizers)]})


def plan_one(text: str | Prompt, tokenizer=None, **options) -> EncoderPlan:
    prompt = text if isinstance(text, Prompt) else parse(text)
    return plan_tokens(prompt, tokenizer or trained_clip(), name="text_encoder", **options)


def codes(encoder: EncoderPlan) -> list[str]:
    return [found.code for found in encoder.diagnostics]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "un gato rojo persigue a un ratón gris",
        "A Photo of an ASTRONAUT, don't  we'll\tx-ray; 8k!!",
        "emoji 😀👩‍🚀 日本 שלום \u202bعالم\u202c cafe\u0301 café İstanbul ẞ ﬁne ²",
        f"{END} hi {START} wow!",
        "nul \x00 and \x7f",
    ],
)
def test_ids_are_the_pipelines_own(text, tokenizer):
    escaped = Prompt((Span(text),))
    encoder = plan_one(escaped, tokenizer, can_chunk=False)
    assert encoder.chunks[0].ids == own_ids(tokenizer, text)


@pytest.mark.parametrize(
    "text",
    [
        "un gato (rojo:1.4) persigue a un [ratón gris]",
        "((a)) (red:0) cat (on:-1) the table, (masterpiece:1.2)",
        "(un:1.1) (gato:1.2) (😀:1.3) (日本:1.4)",
    ],
)
def test_weights_do_not_change_the_ids(text, tokenizer):
    weighted, clean = plan_one(text, tokenizer, can_chunk=False), parse(text).text
    assert weighted.chunks[0].ids == own_ids(tokenizer, clean)
    assert weighted.is_weighted
    assert not plan_one(Prompt((Span(clean),)), tokenizer).is_weighted


@settings(max_examples=150, deadline=None)
@given(PROMPTS)
def test_ids_are_the_pipelines_own_for_any_text(text):
    for tokenizer in (trained_clip(24), trained_clip(24, pad="!", alphabet="letters")):
        encoder = plan_one(text, tokenizer, can_chunk=False)
        assert encoder.chunks[0].ids == own_ids(tokenizer, encoder.prompt.text)


@settings(max_examples=150, deadline=None)
@given(PROMPTS)
def test_a_plan_is_consistent_for_any_text(text):
    encoder = plan_one(text, trained_clip(24))
    assert not encoder.lost
    assert not encoder.cut
    assert all(len(chunk.ids) == len(chunk.weights) == len(chunk.slots) == 24 for chunk in encoder.chunks)
    assert [slot.token for slot in encoder.slots if slot.kind == "token"] == list(range(len(encoder.tokens)))
    for index, token in enumerate(encoder.tokens):
        chunk = encoder.chunks[token.chunk]
        assert token.index == index
        assert chunk.ids[token.slot - 24 * token.chunk] == token.id
        assert chunk.weights[token.slot - 24 * token.chunk] == token.weight
        assert encoder.slots[token.slot].token == index
        assert token.word is None or index in encoder.words[token.word].tokens
    for word in encoder.words:
        assert encoder.prompt.text[word.start : word.end] == word.text
        assert encoder.find(word.text, word.occurrence) == (word,)
    for found in encoder.diagnostics:
        assert 0 <= found.start <= found.end <= len(text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["un", "gato", "RATÓN", "cafe\u0301", "日本", "😀", "שלום"]), st.integers(-9, 9))
    )
)
def test_every_token_has_the_weight_of_its_word(pairs):
    text = " ".join(f"({word}:{weight / 4})" for word, weight in pairs)
    encoder = plan_one(text)
    expected = {}  # the weight of the word that each clean character belongs to
    position = 0
    for word, weight in pairs:
        expected.update(dict.fromkeys(range(position, position + len(word)), weight / 4))
        position += len(word) + 1
    assert [expected[token.start] for token in encoder.tokens] == [token.weight for token in encoder.tokens]
    assert not {"straddling-token", "weight-without-token", "no-token"} & set(codes(encoder))
    assert all(word.tokens for word in encoder.words)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["un gato", "rojo,", "(ratón:1.2)", " ", "😀", "don't"]), min_size=1, max_size=8))
def test_the_clean_text_has_the_ids_of_its_parts(parts):
    """BREAK parts words, so reading the clean text once gives the ids of the parts read one by one."""
    encoder = plan_one(" BREAK ".join(parts), trained_clip(77))
    alone = [parse(part).text.strip() for part in parts]
    assert [token.id for token in encoder.tokens] == content_ids(trained_clip(77), alone)
    filled = [list(chunk.tokens) for chunk in encoder.chunks]
    expected = [content_ids(trained_clip(77), [part]) for part in alone]
    if len(expected) > 1 and not expected[-1]:
        expected.pop()
    assert [[encoder.tokens[index].id for index in chunk] for chunk in filled] == expected


def test_a_spanish_prompt_word_by_word():
    encoder = plan_one("Un gato (rojo:1.4) persigue a un (ratón gris:0.8)", real_clip())
    table = [(word.text, [encoder.tokens[t].text for t in word.tokens], word.weight) for word in encoder.words]
    assert table == [
        ("Un", ["un"], 1.0),
        ("gato", ["gato"], 1.0),
        ("rojo", ["ro", "jo"], 1.4),
        ("persigue", ["persi", "gue"], 1.0),
        ("a", ["a"], 1.0),
        ("un", ["un"], 1.0),
        ("ratón", ["rat", "ón"], 0.8),
        ("gris", ["gris"], 0.8),
    ]
    assert encoder.find("un", 1)[0].occurrence == 1
    assert [word.text for word in encoder.find("RATÓN gris")] == ["ratón", "gris"]
    with pytest.raises(CaptureError, match="did you mean 'gato'"):
        encoder.find("gatos")


def test_characters_of_several_tokens_and_composed_ones_keep_their_place():
    encoder = plan_one("(cafe\u0301:1.2) (日本:1.3) (😀:1.4) x", real_clip())
    seen = {(encoder.prompt.text[t.start : t.end], t.weight, t.word) for t in encoder.tokens}
    assert seen == {("cafe\u0301", 1.2, 0), ("日", 1.3, 1), ("本", 1.3, 2), ("😀", 1.4, 3), ("x", 1.0, 4)}


def test_tokens_are_shown_so_that_they_can_be_told_apart():
    encoder = plan_one("GATO 日 \u202b \x00 🚀", real_clip())
    assert list(dict.fromkeys(t.text for t in encoder.tokens)) == ["gato", "日", "\\u202b", "\\x00", "🚀"]


def test_a_token_across_two_weights_takes_that_of_most_of_its_characters():
    text = "a (r:1.5)ed (bl:2)u(e:2) cat"
    encoder = plan_one(text)
    assert [(token.text, token.weight) for token in encoder.tokens] == [("a", 1), ("red", 1), ("blue", 2), ("cat", 1)]
    red, blue = (found for found in encoder.diagnostics if found.code == "straddling-token")
    assert red.message == "'red' is one token across the weights 1.5 and 1; it takes 1"
    assert text[red.start : red.end] == "r:1.5)ed"
    assert text[blue.start : blue.end] == "bl:2)u(e"


def test_equal_shares_go_to_the_first():
    assert plan_one("(ca:1.5)(ts:2) red (re:1)", real_clip()).tokens[0].weight == 1.5


def test_an_accent_of_its_own_belongs_to_its_letter(tokenizer):
    encoder = plan_one("cafe(\u0301:1.2), n\u0303\u0323", tokenizer)
    assert encoder.tokens[-1].end == len(encoder.prompt.text)
    assert encoder.find("café")[0].weight == 1.0
    assert "straddling-token" in codes(encoder)


def test_a_mark_that_is_a_token_of_its_own_is_not_its_letters():
    encoder = plan_one("n\u0303\u0323", trained_clip())  # composed to a letter with a dot below, and a tilde
    assert sorted({(token.start, token.end) for token in encoder.tokens}) == [(0, 2), (2, 3)]


def test_tokens_that_span_words_and_spaces():
    """A tokenizer that knows nothing of words: whole stretches of text are one token."""
    stretches = Tokenizer(models.WordLevel({"<pad>": 0, "a,": 1, "b   ccc": 2}, unk_token="<pad>"))
    stretches.pre_tokenizer = pre_tokenizers.Split(";", "removed")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=stretches, pad_token="<pad>", model_max_length=24)
    encoder = plan_one("a,;(b   :1.5)ccc", tokenizer)
    assert [encoder.words[token.word].text for token in encoder.tokens] == ["a", "ccc"]
    assert [token.weight for token in encoder.tokens] == [1.0, 1.0]


def test_text_without_a_token_is_reported_and_a_weight_on_it_too():
    vocabulary = {"<pad>": 0, **{letter: index for index, letter in enumerate("gato ", 1)}}
    dropping = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))  # no unknown token: what it lacks it leaves out
    dropping.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=dropping, pad_token="<pad>", model_max_length=24)
    text = "gato (日本:1.2) é"
    encoder = plan_one(text, tokenizer)
    assert [(found.code, text[found.start : found.end]) for found in encoder.diagnostics] == [
        ("no-token", "日"),
        ("no-token", "本"),
        ("no-token", "é"),
        ("weight-without-token", "日本"),
    ]
    assert encoder.diagnostics[-1].message == "weight 1.2 cannot act: '日本' makes no token of its own"
    assert encoder.find("日本")[0].tokens == ()


def test_weights_on_spaces_between_words_are_no_finding():
    assert plan_one("((a) (cat):1.2)").diagnostics == ()


def test_text_unknown_to_the_tokenizer_is_reported_once_a_run():
    encoder = plan_one("gato 日本", trained_clip(alphabet="letters"))
    assert codes(encoder) == ["unknown-text"]
    assert encoder.diagnostics[0].message == f"the tokenizer does not know '日本'; the model sees '{END}' in its place"
    assert {(token.start, token.end) for token in encoder.tokens[-4:]} == {(5, 6), (6, 7)}


def test_marks_of_the_tokenizer_in_the_text_are_reported():
    encoder = plan_one(f"a {END} cat")
    assert codes(encoder) == ["special-token"]


def test_every_word_at_zero_is_reported():
    assert codes(plan_one("(un gato:0) (rojo:0)")) == ["all-zero"]
    assert codes(plan_one("(un gato:0) rojo")) == []


def test_a_long_prompt_is_chunked_and_loses_nothing():
    text = "una niña con un (paraguas amarillo:1.3), " * 40
    encoder = plan_one(text, trained_clip(24))
    ids = [identity for chunk in encoder.chunks for identity in chunk.ids]
    framed = [identity for identity, slot in zip(ids, encoder.slots, strict=True) if slot.kind == "token"]
    assert framed == content_ids(trained_clip(24), [parse(text).text])
    assert all(encoder.tokens[chunk.tokens[-1]].text == "," for chunk in encoder.chunks)
    assert encoder.diagnostics == ()


def test_words_stay_whole_and_one_that_cannot_is_reported():
    encoder = plan_one("persiguepersigue " * 40, trained_clip(24))
    for left, right in zip(encoder.chunks, encoder.chunks[1:], strict=False):
        assert encoder.tokens[left.tokens[-1]].word != encoder.tokens[right.tokens[0]].word
    assert codes(plan_one("xyz" * 100, trained_clip(24))) == ["split-word"]


def test_what_one_window_cannot_take_is_named():
    text = "un gato rojo " * 8 + "persigue a un (ratón:1.4)"
    encoder = plan_one(text, trained_clip(24), can_chunk=False)
    assert len(encoder.chunks) == 1
    assert encoder.chunks[0].ids == own_ids(trained_clip(24), parse(text).text)
    assert [word.text for word in encoder.cut] == ["gato", "rojo", "persigue", "a", "un", "ratón"][-len(encoder.cut) :]
    assert [token.index for token in (*encoder.tokens, *encoder.lost)] == list(range(22 + len(encoder.lost)))
    assert encoder.words[-1].tokens == ()
    (found,) = encoder.diagnostics
    assert found.code == "cut-words"
    assert found.message.startswith(f"text_encoder takes 22 tokens of text; {len(encoder.lost)} more do not fit: ")
    assert found.message.endswith("persigue a un ratón")
    assert text[found.start : found.end].endswith("ratón")


def test_a_tokenizer_that_truncates_left_keeps_the_end():
    tokenizer = trained_clip(24)
    tokenizer.truncation_side = "left"
    encoder = plan_one("un gato rojo " * 8 + "persigue", tokenizer, can_chunk=False)
    assert encoder.chunks[0].ids == own_ids(tokenizer, encoder.prompt.text)
    assert encoder.words[0].tokens == ()
    assert [encoder.tokens[t].text for t in encoder.words[-1].tokens][:1] == [
        encoder.tokens[encoder.words[-1].tokens[0]].text
    ]
    assert [token.index for token in encoder.tokens] == list(range(22))


def test_a_tokenizer_that_pads_left_is_followed():
    tokenizer = trained_clip(24)
    tokenizer.padding_side = "left"
    encoder = plan_one("un (gato:2)", tokenizer)
    assert encoder.chunks[0].ids == own_ids(tokenizer, "un gato")
    assert [encoder.slots[token.slot].kind for token in encoder.tokens] == ["token", "token"]
    assert encoder.chunks[0].weights[encoder.tokens[1].slot] == 2


def test_break_opens_a_chunk_where_there_can_be_several():
    encoder = plan_one("(un BREAK gato:1.2)", trained_clip(24))
    assert [(token.text, token.weight, token.slot) for token in encoder.tokens] == [("un", 1.2, 1), ("gato", 1.2, 25)]
    single = plan_one("(un BREAK gato:1.2)", trained_clip(24), can_chunk=False)
    assert [token.slot for token in single.tokens] == [1, 2]
    assert [(found.code, found.start, found.end) for found in single.diagnostics] == [("break-ignored", 4, 9)]


def test_padding_to_a_number_of_chunks():
    encoder = plan_one("un gato", trained_clip(24, pad="!"))
    padded = encoder.padded(3)
    assert [chunk.ids for chunk in padded.chunks[1:]] == [own_ids(trained_clip(24, pad="!"), "")] * 2
    assert len(padded.slots) == 72
    assert {slot.kind for slot in padded.slots[24:]} == {"start", "end", "padding"}
    assert padded.padded(3) == padded
    assert padded.tokens == encoder.tokens
    with pytest.raises(ConfigError, match="a prompt of 3 chunks cannot be put into 1"):
        padded.padded(1)


def test_several_vectors_of_a_textual_inversion_share_their_word():
    tokenizer = trained_clip(24)
    tokenizer.add_tokens(["<toy>", "<toy>_1", "<toy>_2"])
    encoder = plan_one("a (<toy>:1.3) cat", tokenizer)
    converted = TextualInversionLoaderMixin().maybe_convert_prompt(encoder.prompt.text, tokenizer)
    assert converted == "a <toy> <toy>_1 <toy>_2 cat"
    assert encoder.chunks[0].ids == own_ids(tokenizer, converted)
    assert [token.weight for token in encoder.tokens] == [1, 1.3, 1.3, 1.3, 1]
    assert {(token.start, token.end) for token in encoder.tokens[1:4]} == {(2, 7)}


def test_two_encoders_and_a_negative_prompt():
    two = pipeline(trained_clip(24), trained_clip(24, pad="!"))
    made = plan(two, "un (gato:1.4), " * 8, "(feo:1.5)")
    assert [encoder.name for encoder in made.encoders] == ["text_encoder", "text_encoder_2"]
    assert [encoder.name for encoder in made.negative] == ["text_encoder", "text_encoder_2"]
    assert {token.weight for token in made.negative[0].tokens} == {1.5}
    assert made["text_encoder_2"].chunks[-1].ids[-1] != made["text_encoder"].chunks[-1].ids[-1]
    equal = made.equalised()
    assert {len(encoder.chunks) for encoder in (*equal.encoders, *equal.negative)} == {len(made.encoders[0].chunks)}
    with pytest.raises(UnsupportedModelError, match="there is no 'text_encoder_3'; encoders: text_encoder, text_en"):
        made["text_encoder_3"]


def test_findings_tell_which_prompt_they_are_about_and_come_once():
    made = plan(pipeline(trained_clip(), trained_clip(pad="!")), "(r:1.5)ed", "(feo")
    assert [(found.code, found.source) for found in made.diagnostics] == [
        ("glued-words", "prompt"),
        ("straddling-token", "prompt"),
        ("unclosed-bracket", "negative_prompt"),
    ]


def test_a_missing_negative_prompt_is_the_empty_one():
    made = plan(pipeline(trained_clip(24)), parse("gato"))
    assert made.negative_prompt == Prompt()
    assert made.negative[0].chunks[0].ids == own_ids(trained_clip(24), "")


def test_pairs_with_one_side_missing_are_left_out():
    refiner = SimpleNamespace(tokenizer=None, text_encoder=None, tokenizer_2=trained_clip(), text_encoder_2=object())
    assert [encoder.name for encoder in plan(refiner, "gato").encoders] == ["text_encoder_2"]
    with pytest.raises(UnsupportedModelError, match="SimpleNamespace has no tokenizer beside a text encoder"):
        plan(SimpleNamespace(tokenizer=trained_clip(), text_encoder=None), "gato")


def test_only_clip_is_chunked_by_default():
    t5 = transformers.T5Tokenizer(
        vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in "gatorj")],
        extra_ids=0,
        model_max_length=30,
    )
    made = plan(pipeline(trained_clip(24), t5), "(gato:1.5) rojo " * 20)
    for encoder, tokenizer in zip(made.encoders, (trained_clip(24), t5), strict=True):
        assert encoder.chunks[0].ids == own_ids(tokenizer, made.prompt.text)
        assert len(encoder.chunks) == 1
        assert encoder.cut
    first = [(token.text, token.weight) for token in made.encoders[1].tokens[:7]]
    assert first == [*((letter, 1.5) for letter in "▁gato"), ("▁", 1.0), ("r", 1.0)]
    assert len(plan(pipeline(trained_clip(24), t5), "gato " * 40, can_chunk=True).encoders[0].chunks) == 2


def test_a_window_unknown_to_the_tokenizer_is_the_encoders():
    tokenizer = trained_clip(int(1e30))
    encoder = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=32))
    assert plan(SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder), "gato").encoders[0].window == 32
    with pytest.raises(UnsupportedModelError, match="does not say how many tokens it reads"):
        plan_one("gato", tokenizer)
    with pytest.raises(ConfigError, match="a window of 2 tokens leaves no room"):
        plan_one("gato", tokenizer, window=2)


def test_a_tokenizer_without_offsets_or_padding_is_refused():
    slow = SimpleNamespace(is_fast=False, model_max_length=77)
    with pytest.raises(UnsupportedModelError, match="text_encoder: SimpleNamespace cannot tell which characters"):
        plan_one("gato", slow)
    bare = trained_clip()
    bare.pad_token = None
    with pytest.raises(UnsupportedModelError, match="has no padding token"):
        plan_one("gato", bare)


def test_a_list_of_prompts_is_refused_in_clear_words():
    with pytest.raises(PromptSyntaxError, match="a prompt is one string or a parsed Prompt, not list"):
        plan(pipeline(trained_clip()), ["a", "b"])


@pytest.mark.parametrize("text", ["(gato, rojo:1.2) " * 600, "x" * 10_000, "😀" * 10_000, "(a" * 5000, "שלום " * 2000])
def test_ten_thousand_characters_are_planned_in_seconds(text):
    begin = time.process_time()
    encoder = plan_one(text)
    assert time.process_time() - begin < 10
    assert sum(len(chunk.tokens) for chunk in encoder.chunks) == len(content_ids(trained_clip(), [encoder.prompt.text]))

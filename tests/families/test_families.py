"""Every family builds, runs, and is still what `facts.json` says; `python -m families.facts` makes that table anew."""

import json

import diffusers
import pytest
import torch
from families import language_tokenizers
from families.arguments import described, leaves, written
from families.denoising import attention_facts, conditional_row
from families.facts import TABLE, events_told
from families.family import PROMPT
from families.places import layer_told, seats_of_change, token_axis, with_other_token
from families.registry import FAMILIES
from families.watching import attention_calls, denoisers, watch

FACTS = json.loads(TABLE.read_text())
# Without a class of its own, under another name, or not at all: what one may look for and not find.
NOT_IN_DIFFUSERS = ("Flux3Pipeline", "AnimaPipeline", "CogView3Pipeline", "Kandinsky6Pipeline", "WuerstchenPipeline")


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(params=FAMILIES)
def name(request):
    if FAMILIES[request.param].missing:
        pytest.skip(f"{FAMILIES[request.param].requires} is not installed")
    return request.param


def test_a_family_runs_and_is_what_the_table_says(name):
    family, known = FAMILIES[name], FACTS[name]
    pipe = family.make()
    run = watch(pipe, family.arguments())
    assert torch.isfinite(run.image).all()
    assert run.image.std() > 0
    assert type(pipe).__name__ == known["pipeline"]
    assert described(run.image) == known["image"]
    assert events_told(run.events) == known["events"]
    for part, facts in known["denoisers"].items():
        model = denoisers(pipe)[part]
        assert type(model).__name__ == facts["class"]
        call = _conditional_call(run, part, facts)
        assert {key: described(value) for key, value in call.arguments.items()} == facts["arguments"]
        assert attention_facts(model, call.arguments) == facts["attention"]
        for path, tensor in leaves(call.arguments).items():
            if places := facts["text_places"].get(written(path)):
                _assert_ends_stand(model, call.arguments, path, tensor, facts, places)


def _conditional_call(run, part, facts):
    calls = [call for call in run.calls if call.denoiser == part]
    return calls[conditional_row(facts["rows_of_first_step"])[0]]


def _assert_ends_stand(model, arguments, path, tensor, facts, places):
    """The first and the last token of the text are where the table has them, in every attention layer that it names."""
    call, row = conditional_row(facts["rows_of_first_step"])
    batch = len(facts["rows_of_first_step"][call])
    calls = attention_calls(model, arguments, cut=True)
    for token in (0, tensor.shape[token_axis(tensor, batch)] - 1):
        changed = with_other_token(arguments, path, batch, row, token)
        for before, after in zip(calls, attention_calls(model, changed, cut=True), strict=True):
            seats, _ = seats_of_change(before, after)
            known = [_row(each["places"], token) for each in places if _is_one_of(before, each)]
            assert any(row is ANYWHERE or row == (seats[0] if seats else None) or row in seats for row in known)


ANYWHERE = object()


def _row(known, token):
    if "tokens_at_many_rows" in known or "scattered_runs" in known:
        return ANYWHERE
    return next((seat + token - first for first, last, seat, *_ in known["runs"] if first <= token <= last), None)


def _is_one_of(call, group):
    same = (call.queries, call.key.shape[-2]) == (group["queries"], group["keys"])
    return same and layer_told(call.layer or call.module) in group["layer"]


def test_a_family_is_the_same_whenever_it_is_built():
    family = FAMILIES["lumina2"]
    images = [watch(family.make(), family.arguments()).image for _ in range(2)]
    assert torch.equal(*images)


def test_the_table_has_every_family_and_no_other():
    assert list(FACTS) == list(FAMILIES)


def test_what_is_not_in_diffusers():
    assert [name for name in NOT_IN_DIFFUSERS if hasattr(diffusers, name)] == []


@pytest.mark.parametrize(
    ("pipeline", "attribute", "length"),
    [
        (diffusers.QwenImagePipeline, "prompt_template_encode_start_idx", 34),
        (diffusers.HunyuanImagePipeline, "prompt_template_encode_start_idx", 34),
        (diffusers.Kandinsky5T2IPipeline, "prompt_template_encode_start_idx", 40),
    ],
)
def test_templates_have_as_many_tokens_as_the_pipelines_drop(pipeline, attribute, length):
    family = next(FAMILIES[name] for name, facts in FACTS.items() if facts["pipeline"] == pipeline.__name__)
    pipe = family.make()
    template = getattr(pipe, "prompt_template_encode", None) or pipe.prompt_template
    assert getattr(pipe, attribute) == length
    assert len(language_tokenizers.qwen()(template.split("{}")[0]).input_ids) == length


@pytest.mark.parametrize("make", [language_tokenizers.qwen, language_tokenizers.gemma, language_tokenizers.llama3])
def test_tokens_know_where_in_the_prompt_they_stand(make):
    encoding = make()(PROMPT, return_offsets_mapping=True)
    stands = [PROMPT[start:end].strip() for start, end in encoding.offset_mapping]
    assert "".join(stands) == PROMPT.replace(" ", "")

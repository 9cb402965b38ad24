"""Prompts that change from step to step or combine several: the tree, built by hand."""

from types import SimpleNamespace

import pytest

from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.prompt import (
    Alternate,
    And,
    Blend,
    Break,
    Part,
    Prompt,
    Schedule,
    Span,
    find_in_timeline,
    parse,
    plan,
)
from promptattn.prompt.canonical import MAX_NESTING


def text(written: str, weight: float = 1.0) -> Prompt:
    return Prompt((Span(written, weight),))


EMPTY = Prompt()
A, B, C = text("a"), text("b"), text("c")


def test_a_plain_prompt_is_the_same_at_every_step():
    prompt = parse("a (cat:1.2) BREAK b")
    assert prompt.is_plain
    assert not prompt.is_scheduled
    assert prompt.at(0, 10) is prompt.at(9, 10) is prompt
    assert prompt.timeline(10) == ((0, prompt),)
    assert prompt.parts == (Part(prompt, 1.0),)


@pytest.mark.parametrize(
    ("when", "unit", "steps", "switch"),
    [
        (3, "step", 10, 3),
        (0, "step", 10, 0),
        (-1, "step", 10, 0),
        (10, "step", 10, 10),
        (11, "step", 10, 10),
        (1e300, "step", 10, 10),
        (0.25, "fraction", 10, 2),
        (0.75, "fraction", 10, 7),
        (1.0, "fraction", 10, 10),
        (1.5, "fraction", 10, 10),
        (-0.5, "fraction", 10, 0),
        (1e308, "fraction", 100, 100),
        (-1e308, "fraction", 100, 0),
        (0.5, "fraction", 1, 0),
    ],
)
def test_a_schedule_switches_after_so_many_steps(when, unit, steps, switch):
    schedule = Schedule(A, B, when, unit)
    assert schedule.switch(steps) == switch
    prompt = Prompt((Span("x "), schedule))
    texts = [prompt.at(step, steps).text for step in range(steps)]
    assert texts == ["x a"] * switch + ["x b"] * (steps - switch)


def test_options_take_turns():
    prompt = Prompt((Alternate((A, B, EMPTY)), Span("!")))
    assert [prompt.at(step, 7).text for step in range(7)] == ["a!", "b!", "!", "a!", "b!", "!", "a!"]
    assert [step for step, _ in prompt.timeline(7)] == list(range(7))


def test_nested_schedules_resolve_to_the_innermost_and_join_up():
    inner = Prompt((Alternate((text("b", 1.2), C)), Span(" d")))
    prompt = Prompt((Span("a "), Schedule(inner, EMPTY, 3), Span(" e")))
    assert prompt.nesting == 2
    assert [prompt.at(step, 5).nodes for step in range(5)] == [
        (Span("a "), Span("b", 1.2), Span(" d e")),
        (Span("a c d e"),),
        (Span("a "), Span("b", 1.2), Span(" d e")),
        (Span("a  e"),),
        (Span("a  e"),),
    ]
    assert [(step, p.text) for step, p in prompt.timeline(5)] == [
        (0, "a b d e"),
        (1, "a c d e"),
        (2, "a b d e"),
        (3, "a  e"),
    ]


def test_blanks_next_to_a_break_go_once_it_is_clear_what_stands_there():
    prompt = Prompt((Span("a"), Break(), Schedule(text(" b"), EMPTY, 1), Span(" c")))
    assert prompt.at(0, 2).nodes == (Span("a"), Break(), Span("b c"))
    assert prompt.at(1, 2).nodes == (Span("a"), Break(), Span("c"))


def test_a_timeline_has_no_entry_where_nothing_changes():
    same = Prompt((Alternate((A, A)),))
    assert same.is_scheduled
    assert same.timeline(9) == ((0, A),)
    late = Prompt((Schedule(A, B, 50),))
    assert late.timeline(9) == ((0, A),)
    assert late.timeline(51) == ((0, A), (50, B))


def test_parts_of_and_are_resolved_each():
    prompt = Prompt((And((Part(Prompt((Schedule(A, B, 1),)), 0.5), Part(text(" c ")))),))
    assert prompt.is_scheduled
    assert not prompt.is_plain
    assert [part.weight for part in prompt.parts] == [0.5, 1.0]
    assert prompt.parts[1].prompt == C  # without the blanks at its ends
    assert prompt.at(0, 2).parts == (Part(A, 0.5), Part(C))
    assert prompt.at(1, 2).parts == (Part(B, 0.5), Part(C))
    assert not prompt.at(1, 2).is_scheduled


def test_a_blend_keeps_its_parts_and_is_one_prompt():
    prompt = Prompt((Blend((Part(Prompt((Schedule(A, B, 1),)), 0.5), Part(C)), normalise=False),))
    assert prompt.parts == (Part(prompt),)
    assert prompt.at(1, 2) == Prompt((Blend((Part(B, 0.5), Part(C)), normalise=False),))


@pytest.mark.parametrize(
    ("node", "advice"),
    [
        (Schedule(A, B, 1), r"prompt\.at\(step, steps\)"),
        (Alternate((A, B)), r"prompt\.at\(step, steps\)"),
        (And((Part(A), Part(B))), r"prompt\.parts"),
        (Blend((Part(A), Part(B))), r"prompt\.nodes\[0\]\.parts"),
    ],
)
def test_what_only_a_plain_prompt_has_says_what_to_use_instead(node, advice):
    prompt = Prompt((node,))
    for use in (
        lambda: prompt.spans,
        lambda: prompt.text,
        lambda: prompt.ranges,
        lambda: prompt.breaks,
        lambda: prompt.locate(0, 1),
    ):
        with pytest.raises(PromptSyntaxError, match=advice):
            use()
    pipe = SimpleNamespace(tokenizer=SimpleNamespace(model_max_length=77), text_encoder=object())
    with pytest.raises(PromptSyntaxError, match=r"of one plain text.*prompt\.timeline\(steps\), prompt\.parts"):
        plan(pipe, prompt)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompt(("a",)), "a prompt is made of nodes such as Span, not str: 'a'"),
        (lambda: Prompt((Schedule("a", B, 1),)), "Schedule holds prompts, not str"),
        (lambda: Prompt((And((Part(A),)), Span("b"))), "And must be the only node"),
        (lambda: Prompt((Alternate((A, Prompt((And((Part(B),)),)))),)), "cannot stand inside Alternate"),
        (lambda: Prompt((And((Part(Prompt((Blend((Part(B),)),))),)),)), "cannot stand inside And"),
        (lambda: Alternate((A,)), "between two options or more, not 1"),
        (lambda: And(()), "AND combines one prompt or more"),
        (lambda: Blend((Part(A, 1), Part(B, -1))), "add up to 0"),
        (lambda: Part(A, float("nan")), "the weight of a part must be a finite number, not nan"),
        (lambda: Schedule(A, B, float("inf")), "must be a finite number, not inf"),
        (lambda: Schedule(A, B, 0.5), "cannot switch after 0.5 steps"),
        (lambda: Schedule(A, B, 1, "percent"), "'step' or 'fraction', not 'percent'"),
    ],
)
def test_what_cannot_stand_is_refused(make, message):
    with pytest.raises(PromptSyntaxError, match=message):
        make()


@pytest.mark.parametrize(("step", "steps"), [(-1, 5), (5, 5), (0, 0), (0, -1), (0.5, 5), (True, 5), (0, 2.5)])
def test_only_steps_of_the_run_have_a_prompt(step, steps):
    with pytest.raises(ConfigError, match="step"):
        Prompt((Schedule(A, B, 1),)).at(step, steps)


def test_nesting_is_bounded_so_that_no_walk_runs_out_of_stack():
    prompt = A
    for _ in range(MAX_NESTING):
        prompt = Prompt((Span("x"), Schedule(prompt, EMPTY, 3)))
    assert prompt.at(0, 5).text == "x" * MAX_NESTING + "a"
    assert prompt == Prompt(prompt.nodes)
    assert hash(prompt) == hash(Prompt(prompt.nodes))
    assert repr(prompt).count("Schedule") == MAX_NESTING
    with pytest.raises(PromptSyntaxError, match="nest at most 32 deep"):
        Prompt((Alternate((prompt, A)),))


def test_positions_do_not_count_in_equality():
    placed = Schedule(A, B, 3, "step", 4, 11)
    assert placed == Schedule(A, B, 3)
    assert Alternate((A, B), 1, 2) == Alternate((A, B))
    assert Schedule(A, B, 1, "fraction") != Schedule(A, B, 1, "step")
    assert Blend((Part(A),)) != Blend((Part(A),), normalise=False)


def test_what_a_run_never_shows_is_found():
    prompt = Prompt(
        (
            Schedule(A, Prompt((Schedule(B, C, 0, "step", 5, 9),)), 20, "step", 1, 10),
            Alternate((A, B, C), 11, 18),
        )
    )
    found = find_in_timeline(prompt, 20)
    assert [(d.code, d.start, d.end) for d in found] == [("late-schedule", 1, 10), ("early-schedule", 5, 9)]
    assert [d.code for d in find_in_timeline(prompt, 2)] == ["late-schedule", "early-schedule", "late-option"]
    assert find_in_timeline(Prompt((Schedule(A, B, 0.5, "fraction"),)), 10) == ()

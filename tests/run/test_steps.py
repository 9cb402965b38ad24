import diffusers
import pytest

from promptattn.errors import ConfigError
from promptattn.run.steps import StepFollower
from promptattn.selection import check_steps, in_steps, match_layers


def follow(scheduler, steps, runs=1, start=0):
    """The step numbers that a follower reads off the timesteps a pipeline would walk through."""
    follower, seen = StepFollower(), []
    for _ in range(runs):
        scheduler.set_timesteps(steps)
        if start and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start * scheduler.order)
        for timestep in scheduler.timesteps[start * scheduler.order :]:
            follower.advance(timestep, scheduler)
            seen.append(follower.step)
    return follower, seen


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_first_order_schedulers_make_one_call_a_step(name):
    follower, seen = follow(getattr(diffusers, name)(), 5)
    assert seen == [0, 1, 2, 3, 4]
    assert follower.total == 5


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_two_calls_of_a_second_order_scheduler_count_as_one_step(name):
    follower, seen = follow(getattr(diffusers, name)(), 4)
    assert seen == [0, 0, 1, 1, 2, 2, 3]
    assert follower.total == 4


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_a_second_image_starts_over(name):
    follower, seen = follow(getattr(diffusers, name)(), 3, runs=2)
    assert seen[: len(seen) // 2] == seen[len(seen) // 2 :]
    assert follower.generations == 2


def test_one_step_is_a_generation_of_its_own_each_time():
    follower, seen = follow(diffusers.EulerDiscreteScheduler(), 1, runs=3)
    assert seen == [0, 0, 0]
    assert follower.generations == 3


def test_the_call_with_which_pndm_corrects_its_first_step_is_no_step_of_its_own():
    follower, seen = follow(diffusers.PNDMScheduler(skip_prk_steps=True), 4, runs=2)
    assert seen == [0, 0, 1, 2, 3] * 2
    assert follower.total == 4


def test_pndm_begins_with_four_calls_a_step_unless_that_is_skipped():
    follower, seen = follow(diffusers.PNDMScheduler(), 6)
    assert seen == [0] * 4 + [1] * 4 + [2] * 4 + [3, 4, 5]
    assert follower.total == 6


def test_a_generation_broken_off_after_its_first_call_does_not_count_for_the_next():
    scheduler, follower, seen = diffusers.DDIMScheduler(), StepFollower(), []
    scheduler.set_timesteps(3)
    follower.advance(scheduler.timesteps[0], scheduler)
    scheduler.set_timesteps(3)
    for timestep in scheduler.timesteps:
        seen.append((follower.advance(timestep, scheduler), follower.step))
    assert seen == [(True, 0), (False, 1), (False, 2)]
    assert follower.generations == 2


def test_prompt_and_negative_prompt_in_two_calls_are_one_step():
    scheduler, follower, seen = diffusers.DDIMScheduler(), StepFollower(), []
    scheduler.set_timesteps(3)
    for timestep in scheduler.timesteps:
        for _ in range(2):
            follower.advance(timestep, scheduler)
            seen.append(follower.step)
    assert seen == [0, 0, 1, 1, 2, 2]
    assert follower.generations == 1


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler"])
def test_starting_late_counts_only_the_steps_that_are_made(name):
    follower, seen = follow(getattr(diffusers, name)(), 10, start=6)
    assert seen == [0, 1, 2, 3]
    assert follower.total == 4


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        ((1, 3), [1, 2]),
        ((0.0, 0.4), [0, 1]),
        ((0.5, 1.0), [3, 4]),
        ([0, 4], [0, 4]),
        (range(0, 5, 2), [0, 2, 4]),
    ],
)
def test_selections_of_steps(selection, expected):
    check_steps(selection, "steps")
    assert [step for step in range(5) if in_steps(selection, step, 5)] == expected


@pytest.mark.parametrize("selection", [(3, 3), (0.5, 0.2), (0.2, 1.5), (-1, 2), [], "all", 3, [0.1, 0.5], [-1]])
def test_a_selection_that_selects_nothing_is_refused(selection):
    with pytest.raises(ConfigError, match="steps"):
        check_steps(selection, "steps")


def test_layers_by_name_start_and_glob():
    names = ["down.0.attn1", "down.0.attn2", "up.1.attn2"]
    assert match_layers(names, None, "layers") == names
    assert match_layers(names, "down.0", "layers") == ["down.0.attn1", "down.0.attn2"]
    assert match_layers(names, ["*attn2"], "layers") == ["down.0.attn2", "up.1.attn2"]
    with pytest.raises(ConfigError, match=r"no attention layer is called 'donw.*down\.0\.attn1"):
        match_layers(names, ["donw.0.attn1"], "layers")

"""Runs without a page: pipelines shared, samplers put back, runs stopped, warnings kept apart."""

import threading
import warnings

import pytest

from promptattn.app.runs import Pipelines, Told, Wish, compared, made, swept
from promptattn.app.turns import Stopped
from promptattn.errors import ConfigError, PromptAttnWarning, PromptSyntaxError

WISH = Wish("shapes", steps=2)


@pytest.fixture(scope="module")
def pipelines():
    return Pipelines("cpu", most=1)


def told(step=lambda done, total, expected: None, stopped=None):
    return Told(step, stopped or threading.Event(), [])


def test_steps_are_told_over_all_of_a_run(pipelines):
    heard = []
    made(pipelines, WISH, "a cat", told(lambda done, total, expected: heard.append((done, total))))
    assert heard == [(1, 2), (2, 2)]
    heard.clear()
    compared(pipelines, WISH, "a cat", "a star", told(lambda done, total, expected: heard.append((done, total))))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_sampler_is_for_one_run(pipelines):
    result = made(pipelines, Wish("shapes", sampler="Euler", steps=2), "a cat", told())
    assert result.settings["scheduler"]["name"] == "EulerDiscreteScheduler"
    assert made(pipelines, WISH, "a cat", told()).settings["scheduler"]["name"] == "DDIMScheduler"
    result = made(pipelines, Wish("shapes", sampler="DPM++ 2M Karras", steps=2), "a cat", told())
    assert result.settings["scheduler"]["options"]["use_karras_sigmas"] is True
    with pytest.raises(ConfigError, match="does not fit"):
        made(pipelines, Wish("shapes", sampler="FlowMatchHeunDiscreteScheduler", steps=2), "a cat", told())
    assert made(pipelines, WISH, "a cat", told()).settings["scheduler"]["name"] == "DDIMScheduler"


def test_a_stopped_run_ends_at_its_next_step_and_leaves_the_pipeline_free(pipelines):
    stopped, heard = threading.Event(), []

    def step(done, total, expected):
        heard.append(done)
        stopped.set()

    with pytest.raises(Stopped):
        made(pipelines, Wish("shapes", steps=20), "a cat", told(step, stopped))
    assert heard == [1]
    with pipelines.taken("shapes") as pipe:
        assert not [each for each in pipe.unet.attn_processors.values() if "promptattn" in type(each).__module__]


def test_a_sweep_has_a_bound(pipelines):
    assert len(swept(pipelines, WISH, "a {red,blue} cat", told()).cells) == 2
    with pytest.raises(PromptSyntaxError, match="101 values, and 36 are the most"):
        swept(pipelines, WISH, "a (red:{0..1:0.01}) cat", told())


def test_warnings_go_to_the_page_whose_run_they_are_of(pipelines):
    mine = told(lambda done, total, expected: None)
    with warnings.catch_warnings(record=True) as elsewhere:
        warnings.simplefilter("always")

        def step(done, total, expected):
            other = threading.Thread(target=lambda: warnings.warn("of somebody else", PromptAttnWarning, stacklevel=1))
            other.start()
            other.join()
            warnings.warn("of my own", PromptAttnWarning, stacklevel=1)

        mine = told(step)
        made(pipelines, WISH, "a cat", mine)
    assert mine.warnings == ["of my own"]
    assert "of somebody else" in [str(each.message) for each in elsewhere]


def test_no_more_pipelines_are_kept_than_allowed(pipelines):
    with pipelines.taken("shapes") as first:
        pass
    with pipelines.taken("shapes") as again:
        assert again is first
    with pipelines.taken("shapes-dit"):
        pass
    with pipelines.taken("shapes") as later:
        assert later is not first


def test_a_pipeline_that_does_not_fit_beside_another_has_the_memory_to_itself(monkeypatch):
    import torch

    from promptattn.app import runs

    crowded = Pipelines("cpu")
    with crowded.taken("shapes"):
        pass
    held, load = [], runs.load

    def short_of_memory(name, **options):
        held.append(crowded.holds("shapes"))
        if held[-1]:
            raise ConfigError("too little memory") from torch.OutOfMemoryError()
        return load(name, **options)

    monkeypatch.setattr(runs, "load", short_of_memory)
    with crowded.taken("shapes-dit") as pipe:
        assert pipe.transformer is not None
    assert held == [True, False]
    monkeypatch.setattr(runs, "load", lambda name, **options: (_ for _ in ()).throw(ConfigError("no such device")))
    with pytest.raises(ConfigError, match="no such device"), crowded.taken("shapes"):
        pass
    assert crowded.holds("shapes-dit")

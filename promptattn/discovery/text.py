"""Which text encoders stand in which rows of a text: found by changing what each of them gives."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from promptattn.discovery.arguments import Arguments
from promptattn.discovery.listening import PROMPTS, Unknown, left_as_it_was
from promptattn.processors.segments import Spoken, TextLayout
from promptattn.prompt.planning import plan, sequence_length
from promptattn.prompt.tokenising import given_ids

__all__ = ["find_text"]

_NAMES = ("text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4")


def find_text(pipe: Any, arguments: Arguments) -> TextLayout:
    """What the pipeline's `encode_prompt` makes of its text encoders, and where its results go.

    Raises:
        Unknown: when the text that the denoiser is given is not what `encode_prompt` gives, or encoders share rows in a
            way that cannot be told.
    """
    encoders = [name for name in _NAMES if isinstance(getattr(pipe, name, None), torch.nn.Module)]
    results = _encoded(pipe)
    found = {name: _run_of(pipe, name, results[0]) for name in encoders}
    readers = {name: run for name, run in found.items() if run is not None}
    if not readers:
        raise Unknown("none of its pipeline's text encoders moves the rows of its text")
    _check_tokens(pipe, readers)
    if arguments.grows:
        # Such a pipeline is given its prompts as text, and its encoder's rows are told by what the encoder reads.
        if len(readers) > 1:
            raise Unknown("its text is as long as its tokens, and several text encoders stand in it")
        return TextLayout(rows=(tuple(readers),), spoken=Spoken(negative=_negative(pipe)))
    given = arguments.given[arguments.text]
    if _index(results, given) != 0:
        raise Unknown(f"{arguments.text} is not what the pipeline's encode_prompt gives first")
    pooled = None
    if arguments.pooled:
        pooled = _index(results, _leaf(arguments.given, arguments.pooled))
        if pooled is None:
            raise Unknown(f"{'.'.join(arguments.pooled)} is not among what the pipeline's encode_prompt gives")
    mask = None
    if arguments.mask is not None or "prompt_attention_mask" in inspect.signature(pipe.__call__).parameters:
        fitting = (at for at, each in enumerate(results) if at != pooled and _is_mask(each, given.shape[1]))
        mask = next(fitting, None)
    if arguments.mask is not None and mask is None:
        raise Unknown(f"{arguments.mask} is not among what the pipeline's encode_prompt gives")
    return TextLayout(rows=_groups(readers, given.shape[1]), needed=tuple(encoders), pooled=pooled, mask=mask)


def _check_tokens(pipe: Any, names: Iterable[str]) -> None:
    """See that the encoders read what a plan says, and no template around it."""
    planned = plan(pipe, PROMPTS[0])
    for name in names:
        with _ids_of(getattr(pipe, name)) as read:
            _encoded(pipe)
        if planned[name].chunks[0].ids not in read:
            raise Unknown(
                f"its pipeline lets {name} read other tokens than those of the prompt, such as a template around it, so"
                " that no row is known to be one word"
            )


@contextmanager
def _ids_of(encoder: torch.nn.Module) -> Iterator[list[tuple[int, ...]]]:
    """The token ids of every text that the encoder reads."""
    read: list[tuple[int, ...]] = []

    def listen(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = given_ids(args, kwargs)
        if isinstance(ids, torch.Tensor) and ids.ndim == 2:
            read.extend(tuple(row) for row in ids.tolist())

    handle = encoder.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        yield read
    finally:
        handle.remove()


def _groups(readers: Mapping[str, range], rows: int) -> tuple[tuple[str, ...], ...]:
    """The encoders in the order of their rows, those of the same rows together; () for a run that none stands in."""
    groups: list[tuple[str, ...]] = []
    at = 0
    for run in sorted(set(readers.values()), key=lambda run: run.start):
        names = tuple(name for name, own in readers.items() if own == run)
        if run.start < at:
            raise Unknown(f"the rows of {', '.join(names)} overlap with those of the text encoders before")
        groups += [(), names] if run.start > at else [names]
        at = run.stop
    return (*groups, ()) if at < rows else tuple(groups)


def _encoded(pipe: Any, prompt: str = PROMPTS[0], **more: Any) -> tuple[Any, ...]:
    """What `encode_prompt` gives for one prompt."""
    wanted: dict[str, Any] = dict(
        prompt=[prompt],
        prompt_2=None,
        prompt_3=None,
        device=pipe._execution_device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    if (length := sequence_length(pipe, None)) is not None:
        wanted["max_sequence_length"] = length
    takes = inspect.signature(pipe.encode_prompt).parameters
    try:
        with left_as_it_was(pipe), torch.no_grad():
            result = pipe.encode_prompt(**{name: value for name, value in (wanted | more).items() if name in takes})
    except Exception as error:
        raise Unknown(f"its pipeline's encode_prompt said: {type(error).__name__}: {error}") from error
    return result if isinstance(result, tuple) else (result,)


def _run_of(pipe: Any, name: str, before: Any) -> range | None:
    """The rows of the text in which this encoder stands, its padding too, which may be zeros; None for none."""
    if not isinstance(before, torch.Tensor) or before.ndim != 3:
        raise Unknown("its pipeline's encode_prompt gives no embeddings [batch, row, channel] first")
    with _changed(getattr(pipe, name)) as lengths:
        after = _encoded(pipe)[0]
    if after.shape != before.shape:
        raise Unknown(f"the number of rows of its text goes by what {name} gives")
    moved = (after != before).any(dim=2).any(dim=0).nonzero().flatten().tolist()
    if not moved:
        return None
    if moved != list(range(moved[0], moved[-1] + 1)):
        raise Unknown(f"the rows of {name} are not one run")
    length = max(min(lengths), len(moved)) if lengths else len(moved)
    start = moved[0] if moved[0] + length <= before.shape[1] else max(0, moved[-1] + 1 - length)
    return range(start, min(start + length, before.shape[1]))


@contextmanager
def _changed(encoder: torch.nn.Module) -> Iterator[list[int]]:
    """Let the encoder give something else, and note how many rows it gives."""
    noise = torch.Generator().manual_seed(0)
    lengths: list[int] = []

    def change(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.ndim == 3:
                lengths.append(int(value.shape[1]))
            return value + torch.randn(value.shape, generator=noise).to(value) if value.is_floating_point() else value
        if isinstance(value, Mapping):
            return type(value)(**{key: change(part) for key, part in value.items()})
        return type(value)(change(part) for part in value) if type(value) in (list, tuple) else value

    handle = encoder.register_forward_hook(lambda module, args, output: change(output))
    try:
        yield lengths
    finally:
        handle.remove()


def _negative(pipe: Any) -> int | None:
    """Where the embeddings of the negative prompt stand, if they come from the same call."""
    takes = inspect.signature(pipe.encode_prompt).parameters
    if "negative_prompt" not in takes:
        return None
    both = _encoded(pipe, negative_prompt=[PROMPTS[2]], do_classifier_free_guidance=True)
    return next((at for at, each in enumerate(both[1:], 1) if _same(each, _encoded(pipe, PROMPTS[2])[0])), None)


def _index(results: tuple[Any, ...], given: torch.Tensor) -> int | None:
    """Which of the results is a row of this argument."""
    found = (at for at, each in enumerate(results) if any(_same(each, row[None]) for row in given))
    return next(found, None)


def _is_mask(value: Any, rows: int) -> bool:
    """Whether this says something of every row; AuraFlow's speaks of every channel of them."""
    return isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] % rows == 0


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.shape == other.shape and torch.equal(one.to(other), other)


def _leaf(arguments: Mapping[str, Any], path: tuple[str, ...]) -> torch.Tensor:
    value: Any = arguments
    for key in path:
        value = value[key]
    assert isinstance(value, torch.Tensor)
    return value

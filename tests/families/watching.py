"""Watching a pipeline run: which model is called with what, in which order, and which attention calls it makes."""

import contextlib
import functools
import inspect
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
import transformers
from families.arguments import bound
from torch.overrides import TorchFunctionMode


@dataclass
class Call:
    """One forward call of a denoiser.

    Attributes:
        denoiser: which one.
        arguments: by name.
        steps_before: how many steps each scheduler had made.
        attention: the numbers of queries and keys of the attention calls it made, and how many there were of each.
    """

    denoiser: str
    arguments: dict[str, Any]
    steps_before: dict[str, int]
    attention: Counter[str] = field(default_factory=Counter)


@dataclass
class Reading:
    """What one text encoder was given.

    Attributes:
        given: the names of the arguments of each forward call.
        ids: the token ids, `[batch, token]`, of each.
        embedded: what its largest embedding table was given. Some pipelines call an encoder's layers one by one.
    """

    given: list[list[str]] = field(default_factory=list)
    ids: list[torch.Tensor] = field(default_factory=list)
    embedded: list[torch.Tensor] = field(default_factory=list)

    @property
    def read(self) -> list[torch.Tensor]:
        return self.ids or self.embedded


@dataclass
class Run:
    """One call of a pipeline.

    Attributes:
        image: what came out, `[batch, channel, height, width]`.
        calls: the forward calls of its denoisers, in order.
        events: the order of denoiser calls and scheduler steps.
        readings: what each text encoder was given, by component.
        encoded: arguments and results of every call of `encode_prompt`.
    """

    image: torch.Tensor
    calls: list[Call]
    events: list[str]
    readings: dict[str, Reading]
    encoded: list[tuple[dict[str, Any], Any]]


def components(pipe: Any, kind: type) -> dict[str, Any]:
    """The components of a kind, one name for each object."""
    seen: dict[int, str] = {}
    for name, part in pipe.components.items():
        if isinstance(part, kind):
            seen.setdefault(id(part), name)
    return {name: pipe.components[name] for name in seen.values()}


def denoisers(pipe: Any) -> dict[str, torch.nn.Module]:
    """The diffusers models that are no autoencoders."""
    models = components(pipe, diffusers.ModelMixin)
    return {name: model for name, model in models.items() if not hasattr(model, "decode")}


def text_encoders(pipe: Any) -> dict[str, Any]:
    models = components(pipe, transformers.PreTrainedModel)
    return {name: model for name, model in models.items() if not isinstance(model, _SEEING)}


_SEEING = (transformers.CLIPVisionModelWithProjection,)


def watch(pipe: Any, arguments: dict[str, Any]) -> Run:
    """Run a pipeline and write down what happened."""
    calls: list[Call] = []
    events: list[str] = []
    readings: dict[str, Reading] = {}
    encoded: list[tuple[dict[str, Any], Any]] = []
    steps: dict[str, int] = {}
    running: list[Counter[str]] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        for name, model in denoisers(pipe).items():

            def before(module: Any, args: Any, kwargs: Any, name: str = name) -> None:
                calls.append(Call(name, _kept(bound(module, args, kwargs)), dict(steps)))
                events.append(name)
                running.append(calls[-1].attention)

            stack.callback(model.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(model.register_forward_hook(lambda *_: running.clear(), always_call=True).remove)
        for name, encoder in text_encoders(pipe).items():
            _watch_encoder(stack, encoder, readings.setdefault(name, Reading()))
        for name, scheduler in components(pipe, diffusers.SchedulerMixin).items():
            stack.enter_context(_counted_steps(scheduler, name, steps, events))
        for owner in _with_encode_prompt(pipe):
            stack.enter_context(_recorded_encoding(owner, encoded))
        with _Shapes(running):
            output = pipe(**arguments)
    return Run(_image(output), calls, events, readings, encoded)


class _Shapes(TorchFunctionMode):
    """Counts the attention calls of the denoiser that is running, by their numbers of queries and keys."""

    def __init__(self, running: list[Counter[str]]) -> None:
        super().__init__()
        self.running = running

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention and self.running:
            given = dict(zip(("query", "key"), args, strict=False)) | kwargs
            self.running[-1][f"{given['query'].shape[-2]} x {given['key'].shape[-2]}"] += 1
        return function(*args, **kwargs)


def _kept(value: Any) -> Any:
    """A copy of the tensors: schedulers and key caches write into theirs."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _kept(part) for key, part in value.items()}
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_kept(part) for part in value)
    return value


def _image(output: Any) -> torch.Tensor:
    images = getattr(output, "images", None)
    images = images if images is not None else output[0]
    return torch.as_tensor(images).float()


def _watch_encoder(stack: contextlib.ExitStack, encoder: Any, reading: Reading) -> None:
    def before(module: Any, args: Any, kwargs: Any) -> None:
        given = bound(module, args, kwargs)
        given |= given.pop("kwargs", {})
        reading.given.append(sorted(name for name, value in given.items() if value is not None))
        if isinstance(ids := given.get("input_ids"), torch.Tensor):
            reading.ids.append(ids.clone())

    stack.callback(encoder.register_forward_pre_hook(before, with_kwargs=True).remove)
    tables = [module for module in encoder.modules() if isinstance(module, torch.nn.Embedding)]
    table = max(tables, key=lambda table: table.num_embeddings)
    stack.callback(
        table.register_forward_pre_hook(lambda module, args: reading.embedded.append(args[0].clone())).remove
    )


@contextlib.contextmanager
def _counted_steps(scheduler: Any, name: str, steps: dict[str, int], events: list[str]) -> Iterator[None]:
    own = scheduler.step

    # Pipelines look into the signature for what to hand over, the generator among it.
    @functools.wraps(own)
    def step(*args: Any, **kwargs: Any) -> Any:
        events.append(f"{name}.step")
        steps[name] = steps.get(name, 0) + 1
        return own(*args, **kwargs)

    scheduler.step = step
    try:
        yield
    finally:
        del scheduler.step


def _with_encode_prompt(pipe: Any) -> list[Any]:
    inner = [part for part in vars(pipe).values() if isinstance(part, diffusers.DiffusionPipeline)]
    return [part for part in [pipe, *inner] if hasattr(part, "encode_prompt")]


@contextlib.contextmanager
def _recorded_encoding(owner: Any, encoded: list[tuple[dict[str, Any], Any]]) -> Iterator[None]:
    own = owner.encode_prompt

    @functools.wraps(own)
    def encode_prompt(*args: Any, **kwargs: Any) -> Any:
        result = own(*args, **kwargs)
        encoded.append((_positional(own, args) | kwargs, result))
        return result

    owner.encode_prompt = encode_prompt
    try:
        yield
    finally:
        del owner.encode_prompt


def _positional(function: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(inspect.signature(function).parameters, args, strict=False))


@dataclass(frozen=True)
class AttentionCall:
    """One call of `scaled_dot_product_attention` in a denoiser.

    Attributes:
        layer: name of the attention layer with a processor that made it; "" where none did.
        module: name of the innermost module that was running.
        queries: number of query rows.
        key: `[batch, head, key, channel]`.
        masked: whether a mask was given.
        causal: whether `is_causal` was set.
    """

    layer: str
    module: str
    queries: int
    key: torch.Tensor
    masked: bool
    causal: bool


class _Attention(TorchFunctionMode):
    def __init__(self, calls: list[AttentionCall], running: list[tuple[str, bool]], cut: bool) -> None:
        super().__init__()
        self.calls, self.running, self.cut = calls, running, cut

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is not F.scaled_dot_product_attention:
            return function(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, args, strict=False)) | kwargs
        query, key, value = given["query"], given["key"], given["value"]
        layer = next((name for name, attends in reversed(self.running) if attends), "")
        self.calls.append(
            AttentionCall(
                layer=layer,
                module=self.running[-1][0] if self.running else "",
                queries=query.shape[-2],
                key=key.detach().clone(),
                masked=given.get("attn_mask") is not None,
                causal=bool(given.get("is_causal")),
            )
        )
        if self.cut:
            return query.new_zeros(*query.shape[:-1], value.shape[-1])
        return function(*args, **kwargs)


def attention_calls(model: torch.nn.Module, arguments: dict[str, Any], *, cut: bool = False) -> list[AttentionCall]:
    """The attention calls of one forward call.

    Args:
        cut: let attention return zeros. Rows then no longer mix, so that a change of one row of the input shows in
            every layer at that row alone, however deep the layer.
    """
    calls: list[AttentionCall] = []
    running: list[tuple[str, bool]] = []
    with contextlib.ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            attends = hasattr(module, "processor")

            def enter(module: Any, args: Any, name: str = name, attends: bool = attends) -> None:
                running.append((name, attends))

            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(lambda *_: running.pop() and None, always_call=True).remove)
        with _Attention(calls, running, cut):
            model(**arguments)
    return calls

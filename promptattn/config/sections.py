"""The sections of a config. Every key is a field here, and every field is a key; unknown keys are refused."""

import re
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_serializer, model_validator

from promptattn.config.values import (
    VERBATIM,
    Exponent,
    Listed,
    Number,
    Patch,
    StepChoice,
    WordChoice,
    nearest,
    one_of,
)
from promptattn.errors import ConfigError
from promptattn.export.formats import FORMATS
from promptattn.maps.capture import RELATIONS, Capture
from promptattn.maps.colormap import COLORMAPS
from promptattn.maps.combination import RULES
from promptattn.maps.stream import RECORD_DTYPES, Stream
from promptattn.prompt.parsing import SYNTAXES
from promptattn.weighting import (
    EMBEDDING_METHODS,
    METHODS,
    NORMALISATIONS,
    PLACES,
    EmbeddingWeighting,
    Method,
    Weighting,
    check_reach,
    chosen,
)

__all__ = [
    "DEVICES",
    "DTYPES",
    "CaptureConfig",
    "ExportConfig",
    "ModelConfig",
    "RunConfig",
    "SchedulerConfig",
    "Section",
    "SizeConfig",
    "StreamConfig",
    "WeightingConfig",
]

ROWS = ("image", "all")
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")
# What methods are called elsewhere.
_METHODS_ALSO = {
    "automatic1111": "a1111",
    "clipnegpip": "negpip",
    "comfyui": "comfy",
    "downweight": "down_weight",
    "invokeai": "compel",
    "odds": "attention",
    "p2p": "prompt-to-prompt",
    "prompt2prompt": "prompt-to-prompt",
    "webui": "a1111",
}
_ALSO = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "full": "float32", "gpu": "cuda", "half": "float16"}

Text = Annotated[str, Field(min_length=1)]
Pixels = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a config whose keys are its fields. A key with nothing after it counts as left out."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    short: ClassVar[str | None] = None
    """The field that a section may be written as when only that is given: `model: shapes` for `{name: shapes}`."""

    @model_validator(mode="before")
    @classmethod
    def _written(cls, data: Any) -> Any:
        data = cls.expand(data)
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    @classmethod
    def expand(cls, data: Any) -> Any:
        """`data` with its short form written out."""
        return {cls.short: data} if cls.short and isinstance(data, str) else data


class ModelConfig(Section):
    """Which pipeline: see :func:`promptattn.load`."""

    short = "name"
    name: Annotated[Text, VERBATIM] = "shapes"
    """A preset, a folder in the diffusers format, or a hub id."""
    revision: Annotated[Text | None, VERBATIM] = None
    """Branch, tag or commit on the hub."""
    variant: Annotated[Text | None, VERBATIM] = None
    """Which weight files to take, such as `fp16`."""


class SchedulerConfig(Section):
    """A scheduler in place of the pipeline's own."""

    short = "name"
    name: Annotated[Text, VERBATIM]
    """A class of diffusers that fits the pipeline, such as `EulerDiscreteScheduler`."""
    options: dict[str, Any] = {}
    """Keyword arguments of that class, such as `use_karras_sigmas: true`."""


class SizeConfig(Section):
    """Height and width of the image in pixels; the pipeline's own where left out."""

    height: Pixels | None = None
    width: Pixels | None = None


class WeightingConfig(Section):
    """How weights act: see :mod:`promptattn.weighting` and :func:`promptattn.attend`.

    `where`, `strength`, `layers`, `steps` and `rows` are options of the methods that act in attention; `normalisation`,
    `restore_mean` and `pooled` of those that act on the text embeddings.
    """

    method: Annotated[str, one_of(METHODS, _METHODS_ALSO)] = "attention"
    where: Annotated[str, one_of(PLACES)] = Weighting.where
    strength: Exponent | None = None
    normalisation: Annotated[str, one_of(NORMALISATIONS)] = EmbeddingWeighting.normalisation
    restore_mean: bool = EmbeddingWeighting.restore_mean
    pooled: bool = EmbeddingWeighting.pooled
    layers: Listed[str] | None = None
    steps: StepChoice | None = None
    rows: Annotated[str, one_of(ROWS)] = "image"

    def chosen(self) -> Method:
        """The method with its options; raises ConfigError for options that it does not have."""
        if self.method not in EMBEDDING_METHODS:
            return chosen(self.method, self.where, self.strength)
        chosen(self.method, self.where, self.strength)  # it has neither, and says so
        return EmbeddingWeighting(
            self.method,
            normalisation=self.normalisation,  # type: ignore[arg-type]
            restore_mean=self.restore_mean,
            pooled=self.pooled,
        )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        try:
            check_reach(self.chosen(), layers=self.layers, steps=self.steps, rows=self.rows)
        except ConfigError as error:
            raise ValueError(f"does not go together: {str(error).rstrip('.')}") from error
        if self.method not in EMBEDDING_METHODS:
            self._check_no_embedding_options()
        return self

    def _check_no_embedding_options(self) -> None:
        for name in ("normalisation", "restore_mean", "pooled"):
            value = getattr(self, name)
            if value != getattr(EmbeddingWeighting, name):
                raise ValueError(
                    f"does not go together: {name}={value!r} is an option of {', '.join(EMBEDDING_METHODS)}, and"
                    f" {self.method!r} has none such; leave it out"
                )


class StreamConfig(Section):
    """Where the maps of every step, layer and head go: see :class:`promptattn.maps.Stream`."""

    short = "folder"
    folder: Annotated[Text, VERBATIM]
    shard_mib: Annotated[Number, Field(gt=0)] = Stream.shard_mib
    dtype: Annotated[str, one_of(RECORD_DTYPES, _ALSO)] = Stream.dtype
    force: bool = False


class CaptureConfig(Section):
    """Which maps to record: see :class:`promptattn.Capture`."""

    words: Listed[WordChoice] | None = None
    patches: list[Patch] | None = None
    relations: Listed[Annotated[str, one_of(RELATIONS)]] | None = None
    steps: StepChoice | None = None
    layers: Listed[str] | None = None
    heads: Listed[Annotated[int, Field(ge=0)]] | None = None
    per_step: bool = False
    per_head: bool = False
    stream: StreamConfig | None = None

    def capture(self) -> Capture:
        """The same as an argument of `attend` and `generate`; raises ConfigError for what selects nothing."""
        given = {name: value for name in self.model_fields_set if (value := getattr(self, name)) is not None}
        if self.stream is not None:
            given["stream"] = Stream(**dict(self.stream))
        return Capture(**given)

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        try:
            self.capture()
        except ConfigError as error:
            # "Capture(words=()) selects ..." in terms of the key.
            raise ValueError(re.sub(r"Capture\((\w+)=(\(\)|[^)]*)\)", r"\1", str(error)).rstrip(".")) from error
        return self


class ExportConfig(Section):
    """What to write, and where: see :func:`promptattn.export.write` and :func:`promptattn.export.select`."""

    folder: Annotated[Text, VERBATIM] = "out"
    force: bool = False
    formats: Listed[Annotated[str, one_of(FORMATS)]] = list(FORMATS)
    alpha: Annotated[Number, Field(ge=0, le=1)] = 0.9
    colormap: Annotated[str, one_of(COLORMAPS)] = "ember"
    metadata: bool = True
    """Whether images hold how they were made: see :func:`promptattn.export.write_image`."""
    words: Listed[WordChoice] | None = None
    layers: Listed[str] | None = None
    steps: StepChoice | None = None
    combine: Annotated[str, one_of(RULES)] | None = None


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        close = nearest(name, DEVICES, _ALSO)
        meant = f"; did you mean {close}?" if close else ""
        raise ValueError(f"must be one of {', '.join(DEVICES)}, or cuda:1 and so on, not {name!r}{meant}")
    return name


def _at_least_one_step(steps: int) -> int:
    if steps < 1:
        raise ValueError(f"must be at least 1: {steps} steps make no image")
    return steps


def _apart(seeds: list[int]) -> list[int]:
    if twice := {seed for seed in seeds if seeds.count(seed) > 1}:
        raise ValueError(f"names {min(twice)} twice; the same seed gives the same image")
    if not seeds:
        raise ValueError("is an empty list; give at least one seed")
    return seeds


def _some(prompts: list[str]) -> list[str]:
    if not prompts:
        raise ValueError('is an empty list; give at least one prompt, if only an empty text ""')
    return prompts


Prompts = Annotated[Listed[str], AfterValidator(_some)]


def _switch(value: Any) -> Any:
    """`capture: true` records everything, `capture: false` nothing."""
    return {} if value is True else None if value is False else value


class RunConfig(Section):
    """Everything that makes a run: which model, which prompt, how weights act, what is recorded and written."""

    model: ModelConfig = ModelConfig()
    dtype: Annotated[str, one_of(DTYPES, _ALSO)] | None = None
    """Of the weights: None is what suits the preset, or else `auto` (float32 on the CPU, bfloat16 on a GPU)."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """`auto` is the GPU if there is one."""
    scheduler: SchedulerConfig | None = None
    """None is the pipeline's own."""
    steps: Annotated[int, AfterValidator(_at_least_one_step)] | None = None
    guidance: Number | None = None
    true_cfg: Number | None = None
    """Guidance by a second pass where `guidance` is an input of the model (Flux): there a negative prompt needs it."""
    size: SizeConfig = SizeConfig()
    seed: Annotated[Listed[Annotated[int, Field(ge=0, lt=2**63)]], AfterValidator(_apart)] = [0]
    """Of the first image; image i has `seed + i`. Several seeds are several runs, each in a folder of its own."""
    images: Annotated[int, Field(ge=1)] = 1
    """How many images of each prompt and seed, in one batch."""
    prompt: Annotated[Prompts | None, VERBATIM] = None
    negative_prompt: Annotated[Prompts | None, VERBATIM] = None
    syntax: Annotated[str, one_of(sorted(SYNTAXES))] = "a1111"
    clip_skip: Annotated[int, Field(ge=0)] | None = None
    max_sequence_length: Annotated[int, Field(ge=1)] | None = None
    """Tokens that a T5 text encoder reads."""
    weighting: WeightingConfig = WeightingConfig()
    capture: Annotated[CaptureConfig | None, BeforeValidator(_switch)] = CaptureConfig()
    export: ExportConfig = ExportConfig()

    @field_serializer("capture", mode="wrap")
    def _switched_off(self, value: CaptureConfig | None, serialize: Any) -> Any:
        return False if value is None else serialize(value)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        prompts, negatives = self.prompt or [""], self.negative_prompt or [""]
        if len(negatives) not in (1, len(prompts)):
            raise ValueError(
                f"has {len(prompts)} prompts but {len(negatives)} negative prompts; give one for all, or one each"
            )
        if self.export.steps is not None and not (self.capture and self.capture.per_step):
            raise ValueError(
                "asks export.steps of maps whose steps are not kept apart; add capture.per_step: true, or record only"
                " these with capture.steps"
            )
        return self

    def plain(self) -> dict[str, Any]:
        """This config as the values that a file of it has, which read back as the same; what is left out is None."""
        return _shortened(self.model_dump())

    def to_yaml(self) -> str:
        """:meth:`plain` as YAML."""
        text: str = yaml.dump(self.plain(), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)
        return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's, but for text with line breaks of other alphabets, which it would write as they are and read as \\n."""


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = '"' if not {"\x85", "\u2028", "\u2029"}.isdisjoint(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _shortened(data: dict[str, Any]) -> dict[str, Any]:
    """Without what is None, and sections with a name alone as that name."""
    kept = {
        key: _shortened(value) if isinstance(value, dict) and key != "options" else value
        for key, value in data.items()
        if value is not None
    }
    for key in ("model", "scheduler"):
        section = kept.get(key)
        if isinstance(section, dict) and not {name for name, value in section.items() if name != "name" and value}:
            kept[key] = section["name"]
    return {key: value for key, value in kept.items() if value != {} or key == "capture"}

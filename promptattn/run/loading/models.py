"""What promptattn serves, and what it refuses and why, read off the tables that serve and refuse."""

from collections.abc import Iterator
from dataclasses import dataclass

from promptattn.maps.capture import RELATIONS, Relation
from promptattn.processors.layouts import ADDING_KEYS, LAYOUTS, PROJECTING, LayerKind
from promptattn.processors.refused import REFUSED, REFUSED_PIPELINES
from promptattn.processors.segments import TEXT_LAYOUTS
from promptattn.run.recording.relations import RELATIONS_BY_KIND

__all__ = ["Model", "models"]


@dataclass(frozen=True)
class Model:
    """One family of models.

    Attributes:
        family: what it is called, or a pipeline that is refused although its family is served.
        denoiser: the class of its denoiser; "" for a pipeline.
        weighting: where in the denoiser weights act; "" where it is refused.
        capture: the relations that can be recorded; `text->text` of a model that has no joint attention is that of
            its text encoders, unless its pipeline encodes prompts itself.
        text_encoder: the text encoders, in words; words are weighted in all but those of which it says not.
        tested: on what it is tested, and against what; "" where it is refused.
        refused: the reason, a clause; None where it is served.
    """

    family: str
    denoiser: str
    weighting: str = ""
    capture: tuple[Relation, ...] = ()
    text_encoder: str = ""
    tested: str = ""
    refused: str | None = None


def models() -> tuple[Model, ...]:
    """Every family that promptattn serves, and behind them all that it knows and refuses.

    A denoiser that is in neither list is tried: see :mod:`promptattn.discovery`.
    """
    return (*_served(), *_refused())


_WEIGHTING: dict[LayerKind, str] = {
    "cross": "cross-attention",
    "joint": "text keys of joint attention",
    "added": "text keys beside the image's",
}


def _served() -> Iterator[Model]:
    for denoiser, layout in (*LAYOUTS.items(), *ADDING_KEYS.items(), *PROJECTING.items()):
        kinds: list[LayerKind] = [layout.attention]
        if layout.attention == "cross" and not layout.linear:
            kinds.append("image")
        recorded = {each for kind in kinds for each in RELATIONS_BY_KIND[kind]}
        text = TEXT_LAYOUTS.get(denoiser)
        for number, (family, encoders) in enumerate(layout.families.items()):
            if (text is None or text.spoken is None) and not encoders.endswith("(not weighted)"):
                recorded.add("text->text")
            trained = f"; trained {layout.preset}" if layout.preset and number == 0 else ""
            yield Model(
                family=family,
                denoiser=denoiser,
                weighting=_WEIGHTING[layout.attention],
                capture=tuple(each for each in RELATIONS if each in recorded),
                text_encoder=encoders,
                tested=f"tiny random pipeline against dense float64 attention{trained}",
            )


def _refused() -> Iterator[Model]:
    for denoiser, refusal in REFUSED.items():
        for family in refusal.families:
            yield Model(family=family, denoiser=denoiser, refused=refusal.reason)
    for pipeline, reason in REFUSED_PIPELINES.items():
        yield Model(family=pipeline, denoiser="", refused=reason)

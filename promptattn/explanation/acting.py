"""What will act on a model, what will not, and why: notes that need no weights to be known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from promptattn.explanation.model import ModelFacts
from promptattn.explanation.readings import PromptReading, Text
from promptattn.processors.layouts import LAYOUTS
from promptattn.processors.refused import REFUSED
from promptattn.prompt import Prompt
from promptattn.weighting import EmbeddingWeighting, Method, Weighting, overweight

__all__ = ["Note", "notes"]

# Denoisers that put an RMSNorm on their text before anything else: the length of an embedding is lost there.
_NORMALISING = ("QwenImageTransformer2DModel", "ZImageTransformer2DModel")


@dataclass(frozen=True)
class Note:
    """One sentence about what acts: `info` is how things are, a `warning` is something that will not act as written."""

    code: str
    severity: Literal["info", "warning"]
    message: str


def notes(
    model: ModelFacts,
    method: Method,
    prompt: PromptReading,
    negative: PromptReading | None,
    plain: Sequence[Prompt],
) -> tuple[Note, ...]:
    """Everything there is to say, the method first; `plain` are all plain prompts of both sides."""
    readings = [prompt] if negative is None else [prompt, negative]
    texts = [text for reading in readings for text in reading.texts]
    found = [
        *_served(model),
        *_method(model, method, texts),
        *_encoders(model, method, texts),
        *_combined(readings),
        *_idle(texts),
        *_negative(model, negative),
    ]
    if beyond := overweight(method, [span for prompt in plain for span in prompt.spans]):
        found.append(Note("overweight", "warning", beyond))
    return tuple(dict.fromkeys(found))


def _served(model: ModelFacts) -> Iterator[Note]:
    if model.attention == "unknown":
        if refusal := REFUSED.get(model.denoiser):
            message = f"promptattn does not serve {model.denoiser}, so nothing acts on this model: {refusal.reason}"
        else:
            known = ", ".join(sorted(LAYOUTS))
            message = f"promptattn does not serve {model.denoiser} yet, so nothing acts here; it serves {known}"
        yield Note("unserved", "warning", message)


def _method(model: ModelFacts, method: Method, texts: Sequence[Text]) -> Iterator[Note]:
    weights = {word.weight for text in texts for encoder in text.encoders for word in encoder.words} - {1.0}
    if not weights:
        yield Note("unweighted", "info", "no word has a weight other than 1: the image is that of the plain text")
        return
    yield Note("method", "info", f"{method.name}: {_told(model, method)}")
    if any(weight < 0 for weight in weights):
        kept = "attends as its size says, and turns the word's value round"
        message = kept if isinstance(method, Weighting) else "turns the word's embedding round"
        yield Note("negative-weight", "info", f"a negative weight {message}")
    if model.denoiser in _NORMALISING and method.name == "a1111":
        message = f"{model.denoiser} normalises its text, which undoes a scaled embedding; use the method attention"
        yield Note("inert-method", "warning", message)
    if isinstance(method, Weighting) and method.rule == "negpip" and model.attention == "joint":
        message = "negpip lengthens keys, and this model normalises them; use the method attention"
        yield Note("negpip-joint", "warning", message)


_KEYS = {
    "joint": "text keys of joint attention",
    "added": "text keys beside the image's",
    "cross": "keys of cross-attention",
}


def _told(model: ModelFacts, method: Method) -> str:
    if isinstance(method, EmbeddingWeighting):
        pooled = "and the pooled vector" if method.pooled else "not a pooled vector"
        return f"weights change the words' text embeddings, {pooled}; attention is left alone"
    keys = _KEYS.get(model.attention, _KEYS["cross"])
    if method.rule == "prompt-to-prompt":
        return f"weights multiply the words' columns of the attention map, among the {keys}"
    if method.rule == "negpip":
        return f"weights lengthen the words' keys and multiply their values, among the {keys}"
    places = {
        "auto": f"the {keys}; words of weights near 0 are faded out in the text encoders too",
        "denoiser": f"the {keys}, and the text encoders are left alone",
        "text": "the keys of the text encoders, and the denoiser is left alone",
        "both": f"the {keys} and those of the text encoders",
    }
    where = "both" if method.where == "auto" and method.strength == "exact" else method.where
    return f"weights multiply the words' odds among {places[where]}"


def _encoders(model: ModelFacts, method: Method, texts: Sequence[Text]) -> Iterator[Note]:
    for encoder in model.encoders:
        if encoder.role == "absent":
            message = f"this pipeline has no {encoder.name}: zeros stand in the place of its words, and no weight acts"
            yield Note("no-encoder", "info", message)
        if encoder.role == "pooled":
            read = [each for text in texts for each in text.encoders if each.name == encoder.name]
            acts = any(word.acts for each in read for word in each.words)
            weighs = "weights act inside it only" if acts else "no weight acts there"
            message = f"the denoiser gets one vector for the whole text from {encoder.name}, not its words: {weighs}"
            yield Note("pooled-only", "info", message)


def _combined(readings: Sequence[PromptReading]) -> Iterator[Note]:
    for reading in readings:
        if len(reading.parts) > 1:
            message = f"{len(reading.parts)} prompts are predicted in every step, and added, each times its weight"
            yield Note("and", "info", f"AND: {message}")
        if any(len(moment.texts) > 1 for part in reading.parts for moment in part.moments):
            yield Note("blend", "info", "blend: the embeddings of the texts are mixed, row by row")


def _idle(texts: Sequence[Text]) -> Iterator[Note]:
    """Weighted words that nothing acts on, in any encoder."""
    for text in texts:
        for copies in zip(*(encoder.words for encoder in text.encoders), strict=True):
            word = copies[0]
            if word.weight == 1.0 or any(copy.acts for copy in copies):
                continue
            states = {copy.state for copy in copies}
            if states == {"cut"}:
                why = "it is cut off: no text encoder reads it"
            elif not states & {"read", "partly"}:
                why = "no text encoder makes a token of it"
            else:
                why = "where it is read, this method leaves it alone"
            yield Note("idle-weight", "warning", f"the weight {word.weight:g} of {word.text!r} does nothing: {why}")


def _negative(model: ModelFacts, negative: PromptReading | None) -> Iterator[Note]:
    if negative is None:
        return
    if len(negative.parts) > 1:
        message = "a negative prompt cannot hold AND: what it adds are predictions of the prompt"
        yield Note("negative-and", "warning", f"{message}; put a comma there, or write it in small letters")
    if model.negative == "no":
        yield Note("negative-prompt", "warning", f"{model.pipeline} takes no negative prompt; leave it out")
    elif model.negative == "true_cfg":
        message = f"{model.pipeline} reads a negative prompt only with a true_cfg_scale above 1"
        yield Note("negative-prompt", "warning", message)

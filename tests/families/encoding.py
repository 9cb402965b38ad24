"""How a family's prompts become embeddings: its encoders and tokenizers, and its `encode_prompt`."""

import ast
import inspect
import textwrap
from typing import Any

import torch
import transformers
from families.arguments import described, equal
from families.family import UNLIKE, Family
from families.watching import Run, components, text_encoders, watch


def encoder_facts(pipe: Any, family: Family, run: Run) -> dict[str, Any]:
    """Each text encoder: its class, what it was given, and how many tokens stand around those of the prompt."""
    other, unlike = (watch(pipe, family.arguments(prompt=prompt)) for prompt in (family.prompts[1], UNLIKE))
    tokenizers = components(pipe, transformers.PreTrainedTokenizerBase) | components(pipe, transformers.ProcessorMixin)
    encoders = {}
    for name, encoder in text_encoders(pipe).items():
        reading = run.readings[name]
        encoders[name] = {
            "class": type(encoder).__name__,
            "module": type(encoder).__module__,
            "ids": [list(ids.shape) for ids in reading.read[:4]],
            "forward_calls": len(reading.given),
            "arguments": sorted({argument for each in reading.given for argument in each}),
            "attention": getattr(encoder.config, "_attn_implementation", None),
            "around_the_prompt": _around(*(each.readings[name].read for each in (run, other, unlike))),
        }
    return {
        "encoders": encoders,
        "tokenizers": {
            name: {
                "class": type(tokenizer).__name__,
                "fast": getattr(getattr(tokenizer, "tokenizer", tokenizer), "is_fast", None),
                "padding_side": getattr(getattr(tokenizer, "tokenizer", tokenizer), "padding_side", None),
                "chat_template": getattr(tokenizer, "chat_template", None) is not None,
            }
            for name, tokenizer in tokenizers.items()
        },
    }


def _around(ids: list[torch.Tensor], others: list[torch.Tensor], unlikes: list[torch.Tensor]) -> dict[str, int] | None:
    """How many tokens are the same before and behind the prompt, padding included, whatever the prompt is."""
    for one, other, unlike in zip(ids, others, unlikes, strict=False):
        if one.shape == other.shape and one.ndim == 2:
            for row in (one != other).any(dim=1).nonzero().flatten().tolist()[:1]:
                left, right = one[row].tolist(), unlike[min(row, len(unlike) - 1)].tolist()
                return {"before": _common(left, right), "behind": _common(left[::-1], right[::-1]), "of": len(left)}
    return None


def _common(left: list[int], right: list[int]) -> int:
    return next(
        (index for index, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(map(len, (left, right)))
    )


def encoding_facts(pipe: Any, family: Family, run: Run) -> dict[str, Any]:
    """What `encode_prompt` takes and returns, which arguments of the call take it, and if the image is the same."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    told: dict[str, Any] = {
        "embedding_arguments": [
            name for name in parameters if any(part in name for part in ("embed", "mask", "text_ids", "prior_token"))
        ],
        "prompt_arguments": [name for name in parameters if "prompt" in name and "embed" not in name],
        "callback_on_step_end": "callback_on_step_end" in parameters,
        "num_images_per_prompt": "num_images_per_prompt" in parameters,
        "attention_kwargs": [name for name in parameters if name.endswith("attention_kwargs")],
    }
    if not hasattr(pipe, "encode_prompt"):
        return told | {"encode_prompt": None}
    told["parameters"] = list(inspect.signature(pipe.encode_prompt).parameters)
    told["returns"] = _returned(type(pipe).encode_prompt)
    told["assigned_to"] = _assigned(type(pipe).__call__)
    told["calls"] = [
        {"with": {key: described(value) for key, value in given.items()}, "gave": described(result)}
        for given, result in run.encoded
    ]
    return told | {"from_embeddings": _from_embeddings(pipe, family, run, told["assigned_to"], parameters)}


def _source(function: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))


def _names(node: ast.expr | None) -> list[str]:
    nodes = node.elts if isinstance(node, ast.Tuple) else [node] if node is not None else []
    return [ast.unparse(each) for each in nodes]


def _returned(function: Any) -> list[list[str]]:
    return [_names(node.value) for node in ast.walk(_source(function)) if isinstance(node, ast.Return)]


def _assigned(function: Any) -> list[list[str]]:
    """The names to which a pipeline's call assigns what `self.encode_prompt` returns, in order."""
    return [
        _names(node.targets[0])
        for node in ast.walk(_source(function))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "self.encode_prompt"
    ]


def _from_embeddings(
    pipe: Any, family: Family, run: Run, assigned: list[list[str]], parameters: Any
) -> dict[str, Any] | None:
    """Whether the call makes the same image of what `encode_prompt` returned, by the names it assigns it to."""
    values: dict[str, Any] = {}
    returned = [[name.split(" if ")[0] for name in names] for names in _returned(type(pipe).encode_prompt)]
    # By the names it is assigned to, else by those it has where it is returned, else in the usual order.
    candidates = (assigned, returned, [["prompt_embeds"], ["negative_prompt_embeds"]])
    fitting = ([names for names in each if set(names) & set(parameters)] for each in candidates)
    for names, (_, result) in zip(next(filter(None, fitting), []), run.encoded, strict=False):
        results = result if isinstance(result, tuple) else (result,)
        values |= {
            name: value
            for name, value in zip(names, results, strict=False)
            if name in parameters and value is not None and name not in values
        }
    if not values:
        return None
    absent = {name: None for name in ("prompt", "negative_prompt") if name in parameters}
    arguments = family.arguments() | absent
    try:
        again = watch(pipe, arguments | values)
    except Exception as error:
        outcome = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
    else:
        outcome = "same image" if equal(again.image, run.image) else "another image"
    return {"given": sorted(values), "outcome": outcome}

"""What the study's scripts share: the pipeline, the settings that results depend on, shares of the work."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptattn.errors import ConfigError
from promptattn.shapes.study.cases import Case

__all__ = ["load_pipe", "of_shard", "options_of", "settings_of"]


def of_shard(cases: Sequence[Case], shard: str) -> list[Case]:
    """Every n-th pair of cases, so that each shard has both languages.

    Raises:
        ConfigError: when `shard` is not of the form i/n with i < n.
    """
    match = re.fullmatch(r"(\d+)/([1-9]\d*)", shard)
    if not match or int(match[1]) >= int(match[2]):
        raise ConfigError(f"--shard {shard} is not a share of the work; 0/2 and 1/2 are the two halves.")
    return [case for case in cases if case.index // 2 % int(match[2]) == int(match[1])]


def load_pipe(model: str, device: str = "cpu", dtype: str = "float32") -> Any:
    """The pipeline. Raises ConfigError for a dtype that torch does not have."""
    import torch

    import promptattn

    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ConfigError(f"--dtype {dtype} is none of torch's; use float32, float16 or bfloat16.")
    return promptattn.load(model, dtype=getattr(torch, dtype), device=device)


def options_of(pipe: Any, steps: int, guidance: float | None = None) -> dict[str, Any]:
    """Arguments of the pipeline's call: as recommended for it, with these steps and, if given, this guidance."""
    from promptattn.run.loading.load import recommended

    options = {**recommended(pipe), "num_inference_steps": steps}
    if guidance is not None:
        options["guidance_scale"] = guidance
    return options


def settings_of(
    model: str,
    pipe: Any,
    options: Mapping[str, Any],
    *,
    dtype: str = "float32",
    seed: int = 0,
    texts: str | Sequence[str] = "shapes",
    maps: bool = False,
) -> dict[str, Any]:
    """What a folder's results depend on, as its `settings.json` keeps it. `texts` is "shapes" or the prompts."""
    from promptattn.shapes.study.painter import fingerprint

    made_with = {"model": model, "weights": fingerprint(pipe), "dtype": dtype, "seed": seed}
    return {**made_with, **options, "texts": texts, "maps": maps}

"""What an A1111 image says and promptattn does not do, each with the reason. Nothing is dropped without a word."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

__all__ = ["reasons"]

Reason = tuple[str, str, Literal["info", "warning"]]

# Beginnings of A1111's names, and why they make no difference here. The first that fits is the reason.
_WHY: tuple[tuple[str, str, str], ...] = (
    ("hires", r"Hires |Denoising strength$|First pass size$", "there is no second pass over an image here"),
    ("lora", r"Lora hashes$|LyCORIS|AddNet ", "load the networks yourself, with the pipeline's load_lora_weights"),
    ("embeddings", r"TI hashes$|TI$", "load the embeddings yourself, with the pipeline's load_textual_inversion"),
    ("hypernetwork", r"Hypernet", "hypernetworks are not supported"),
    ("adetailer", r"ADetailer ", "faces are not painted over afterwards"),
    ("controlnet", r"ControlNet", "no ControlNet is used"),
    ("face-restoration", r"Face restoration$|CodeFormer|GFPGAN", "faces are not restored afterwards"),
    ("postprocessing", r"Postprocess|Extras", "images are not enlarged or changed afterwards"),
    ("refiner", r"Refiner", "there is no change to a second model"),
    ("variation", r"Variation seed|Seed resize from$", "the noise of two seeds is not mixed"),
    (
        "noise",
        r"ENSD$|Eta|eta |Sigma |Schedule (max sigma|min sigma|rho)$|NGMS$|Skip Early CFG$|Discard penultimate",
        "the scheduler's own value is used",
    ),
    ("vae", r"VAE$|VAE hash$|VAE (En|De)coder$", "the model's own VAE is used"),
    ("tiling", r"Tiling$", "edges are not made to meet"),
    ("token-merging", r"Token merging", "tokens are not merged"),
    (
        "input-image",
        r"Mask |Masked |Inpaint|Init image|Conditional mask|Image CFG scale$|Resize mode$",
        "there is no input image",
    ),
    ("emphasis", r"Emphasis$", "weights act as A1111's default has it, and the mean is restored"),
)
# What only says who made the image, with what; nothing of it could be done.
_ABOUT = {
    "Version",
    "User",
    "Model hash",
    "Hashes",
    "Batch size",
    "Batch pos",
    "Parser",
    "App",
    "Backend",
    "Created Date",
}


def reasons(fields: Mapping[str, str], settings: Mapping[str, Any]) -> Iterator[Reason]:
    """For all fields that were not read as settings: (code, sentence, severity), those of a kind as one."""
    yield _noise(fields.get("RNG"))
    groups: dict[tuple[str, str], list[str]] = {}
    for name, value in fields.items():
        if name != "RNG" and name not in _ABOUT:
            groups.setdefault(_why(name), []).append(f"{name}: {_short(value)}")
    for (code, reason), pairs in groups.items():
        yield code, f"{', '.join(pairs)}: {reason}", "warning"
    named = [*filter(None, (settings.get("model"), fields.get("Model hash")))]
    if named:
        said = f"the image's model is {', '.join(map(_short, named))}; that the one used is the same is not checked"
        yield "model", said, "info"


def _why(name: str) -> tuple[str, str]:
    for code, pattern, reason in _WHY:
        if re.match(pattern, name):
            return code, reason
    return "unknown-setting", "promptattn has no such setting"


def _noise(source: str | None) -> Reason:
    if source == "CPU":
        return "noise-source", "the noise of this seed is drawn on the CPU, as it was (RNG: CPU)", "info"
    drawn = f"on {_short(source)} (RNG)" if source else "on the GPU, A1111's default"
    return (
        "noise-source",
        f"A1111 drew the noise {drawn}; here it is drawn on the CPU, so the same seed starts from another noise, and"
        " the picture will be another one",
        "warning",
    )


def _short(text: str) -> str:
    """At most 60 characters, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."

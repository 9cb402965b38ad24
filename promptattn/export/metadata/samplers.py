"""What A1111 calls a sampler and a schedule type, and what diffusers calls a scheduler.

The pairs follow the table of diffusers' own documentation (api/schedulers/overview, "Schedulers" and "Noise schedules
and schedule types"); what "Automatic" means for a sampler is written in A1111's modules/sd_samplers_kdiffusion.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Sampler", "scheduler_for", "written_as"]


@dataclass(frozen=True)
class Sampler:
    """A sampler of A1111 as a scheduler of diffusers.

    `automatic` is the schedule type that A1111 takes by itself, `spacing` whether the scheduler has
    `timestep_spacing`, `bent` whether it has Karras, exponential and beta sigmas; `differs` says how it is not the
    same.
    """

    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    automatic: str = "Uniform"
    bent: bool = True
    spacing: bool = True
    differs: str = ""


_SDE = {"algorithm_type": "sde-dpmsolver++"}
_NO_ANCESTRAL = "diffusers has it without the fresh noise of each step"

SAMPLERS = {
    "Euler": Sampler("EulerDiscreteScheduler"),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", bent=False),
    "LMS": Sampler("LMSDiscreteScheduler"),
    "Heun": Sampler("HeunDiscreteScheduler"),
    "DPM2": Sampler("KDPM2DiscreteScheduler", automatic="Karras"),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", automatic="Karras"),
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", automatic="Karras"),
    "DPM++ 2M SDE": Sampler("DPMSolverMultistepScheduler", _SDE, automatic="Exponential"),
    "DPM++ 2M SDE Heun": Sampler("DPMSolverMultistepScheduler", _SDE | {"solver_type": "heun"}, "Exponential"),
    "DPM++ 3M SDE": Sampler("DPMSolverMultistepScheduler", _SDE | {"solver_order": 3}, "Exponential"),
    "DPM++ SDE": Sampler(
        "DPMSolverSinglestepScheduler", _SDE, automatic="Karras", spacing=False, differs="diffusers splits steps in two"
    ),
    "DPM++ 2S a": Sampler("DPMSolverSinglestepScheduler", automatic="Karras", spacing=False, differs=_NO_ANCESTRAL),
    "UniPC": Sampler("UniPCMultistepScheduler"),
    "DDIM": Sampler("DDIMScheduler", bent=False),
    "PLMS": Sampler("PNDMScheduler", {"skip_prk_steps": True}, bent=False),
    "LCM": Sampler("LCMScheduler", bent=False),
}

_SIGMAS = {"Karras": "use_karras_sigmas", "Exponential": "use_exponential_sigmas", "Beta": "use_beta_sigmas"}
_SPACINGS = {"Uniform": None, "Normal": "linspace", "DDIM": "leading", "SGM Uniform": "trailing", "Simple": "trailing"}
# Flow matching has one scheduler, which A1111's successors call so.
_FLOW = {"FlowMatchEulerDiscreteScheduler": "Euler", "FlowMatchHeunDiscreteScheduler": "Heun"}


def scheduler_for(name: str, schedule: str | None) -> tuple[dict[str, Any] | None, list[str]]:
    """The scheduler `{"name": ..., "options": ...}` for a sampler and a schedule type, and what differs, in sentences.

    None where diffusers has nothing that comes near. `schedule` is None in the texts of an A1111 before 1.9, where the
    sampler's name ends with it: `DPM++ 2M Karras`.
    """
    if schedule is None:
        name, schedule = _split(name)
    sampler = _known(name)
    if sampler is None:
        return None, [f"the sampler {name!r} is none that diffusers has; the model's own scheduler is used"]
    said = [f"the sampler {name!r} is {sampler.scheduler} here: {sampler.differs}"] if sampler.differs else []
    options = dict(sampler.options)
    wanted = sampler.automatic if schedule == "Automatic" else schedule
    if wanted in _SIGMAS and sampler.bent:
        options[_SIGMAS[wanted]] = True
    elif wanted in _SPACINGS and sampler.spacing:
        if spacing := _SPACINGS[wanted]:
            options["timestep_spacing"] = spacing
    elif wanted != "Uniform":
        said.append(f"{sampler.scheduler} has no schedule type {wanted!r}; its steps are spaced as the model has them")
    return {"name": sampler.scheduler, "options": options}, said


def written_as(scheduler: Mapping[str, Any]) -> tuple[str, str | None]:
    """What A1111 calls this scheduler: sampler and schedule type. The class's own name where it has no word for it."""
    name, options = str(scheduler.get("name", "")), scheduler.get("options") or {}
    if name in _FLOW:
        return _FLOW[name], "Simple"
    fitting = [(known, sampler) for known, sampler in SAMPLERS.items() if sampler.scheduler == name]
    # Of several samplers of one class the one with most options in common with it; the first has none.
    fitting = [
        (known, sampler)
        for known, sampler in fitting
        if not sampler.differs and all(options.get(option) == value for option, value in sampler.options.items())
    ]
    if not fitting:
        return name, None
    sampler_name = max(fitting, key=lambda each: len(each[1].options))[0]
    for schedule, option in _SIGMAS.items():
        if options.get(option):
            return sampler_name, schedule
    return sampler_name, "SGM Uniform" if options.get("timestep_spacing") == "trailing" else "Uniform"


def _split(name: str) -> tuple[str, str]:
    for schedule in (*_SIGMAS, "Uniform"):
        if name.endswith(f" {schedule}"):
            return name.removesuffix(f" {schedule}"), schedule
    return name, "Uniform"


def _known(name: str) -> Sampler | None:
    low = name.lower()
    return next((sampler for known, sampler in SAMPLERS.items() if known.lower() == low), None)

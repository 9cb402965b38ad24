"""Whatever the installed diffusers has is served, or refused by name, or something else by name.

A new diffusers brings new classes, and each of these tests then says what is to be done about them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import diffusers
import pytest
from families.facts import TABLE
from families.family import PROMPT
from families.registry import FAMILIES
from families.scanning import denoisers, parts, pipelines, processors
from families.test_served import SERVED
from families.variants import SIZE, VARIANTS, Variant

import promptattn
from promptattn.errors import UnsupportedModelError
from promptattn.processors import derive, why_not
from promptattn.processors.layouts import LAYOUTS
from promptattn.processors.out_of_scope import OTHER_MODELS, OTHER_PIPELINES, why_out_of_scope
from promptattn.processors.refused import REFUSED, REFUSED_PIPELINES

FACTS = json.loads(TABLE.read_text())
TOGETHER = Path(__file__).parents[1] / "together"

# What diffusers cannot run itself, so that there is nothing to compare with.
BROKEN = {"ChromaInpaintPipeline": "guidance_embeds"}

# Like a pipeline that is tested in everything that promptattn sees: the calls of encoders and denoiser.
LIKE_ANOTHER = {
    "FluxControlInpaintPipeline": "FluxControlImg2ImgPipeline",
    "FluxControlNetImg2ImgPipeline": "FluxControlNetPipeline",
    "FluxControlNetInpaintPipeline": "FluxControlNetPipeline",
    "StableDiffusion3ControlNetInpaintingPipeline": "StableDiffusion3ControlNetPipeline",
}

MATERIALISED = "builds the attention matrix"
XFORMERS = "xformers"
NEITHER = "calls neither"
UNDERIVABLE = {
    # Each has a sibling that calls scaled_dot_product_attention, and is what diffusers sets by default.
    "AttnAddedKVProcessor": MATERIALISED,
    "AttnProcessor": MATERIALISED,
    "CustomDiffusionAttnProcessor": MATERIALISED,
    "IPAdapterAttnProcessor": MATERIALISED,
    # enable_attention_slicing
    "SlicedAttnAddedKVProcessor": MATERIALISED,
    "SlicedAttnProcessor": MATERIALISED,
    # enable_xformers_memory_efficient_attention
    "CustomDiffusionXFormersAttnProcessor": XFORMERS,
    "IPAdapterXFormersAttnProcessor": XFORMERS,
    "XFormersAttnAddedKVProcessor": XFORMERS,
    "XFormersAttnProcessor": XFORMERS,
    "XFormersJointAttnProcessor": XFORMERS,
    # Linear attention, in which no key has a share; Sana's and its autoencoder's, among image rows alone.
    "PAGCFGSanaLinearAttnProcessor2_0": NEITHER,
    "PAGIdentitySanaLinearAttnProcessor2_0": NEITHER,
    "SanaLinearAttnProcessor2_0": NEITHER,
    "SanaLinearAttnProcessor3_0": NEITHER,
    "SanaMultiscaleAttnProcessor2_0": NEITHER,
    # The autoencoder of a video model.
    "LTX2VideoVaeNeighborhoodNattenProcessor": NEITHER,
    # Of pipelines that are refused or make videos, which look at the matrix.
    "AttendExciteAttnProcessor": MATERIALISED,
    "CrossAttnStoreProcessor": MATERIALISED,
    "CrossFrameAttnProcessor": MATERIALISED,
    "LEDITSCrossAttnProcessor": MATERIALISED,
    "Pix2PixZeroAttnProcessor": MATERIALISED,
}


def _tested() -> set[str]:
    """The pipelines that some test of a whole run names or makes."""
    together = "".join(path.read_text() for path in TOGETHER.glob("*.py"))
    families = {FACTS[name]["pipeline"] for name in SERVED} | {variant.kind.__name__ for variant in VARIANTS}
    return families | {cls.__name__ for cls in pipelines() if cls.__name__ in together and not _is_named(cls)}


def _is_named(cls: type) -> bool:
    return (
        cls.__name__ in REFUSED_PIPELINES
        or why_out_of_scope(cls) is not None
        or any(part in REFUSED for part in parts(cls))
    )


def _listed(classes: Iterable[type]) -> str:
    return ", ".join(f"{cls.__module__}.{cls.__name__}" for cls in classes)


def test_every_pipeline_is_served_or_named_with_its_reason():
    tested = _tested()
    known = tested | set(BROKEN) | set(LIKE_ANOTHER)
    new = [cls for cls in pipelines() if cls.__name__ not in known and not _is_named(cls)]
    assert not new, (
        f"{_listed(new)}: neither served nor named. If it makes images from text: run it as a family or a variant in"
        " tests/families, with a layout of its denoiser, or name it in processors/refused.py with the reason why not."
        " If it does something else: name it in processors/out_of_scope.py."
    )
    assert tested >= set(LIKE_ANOTHER.values())
    served = [cls for cls in pipelines() if cls.__name__ in known]
    assert not [cls for cls in served if not set(parts(cls)) & set(LAYOUTS)]
    assert not [cls for cls in served if why_out_of_scope(cls) or cls.__name__ in set(REFUSED_PIPELINES) - tested]


def test_every_denoiser_is_served_or_named_with_its_reason():
    new = [cls for cls in denoisers() if cls.__name__ not in {*LAYOUTS, *REFUSED} and not why_out_of_scope(cls)]
    assert not new, (
        f"{_listed(new)}: neither served nor named. Give it an entry in processors/layouts/table.py, or name it with"
        " the reason why not in processors/refused.py (it makes images from text) or processors/out_of_scope.py (it"
        " does not)."
    )


def test_every_processor_can_be_derived_or_is_named_with_its_reason():
    found = {cls: why_not(cls) for cls in processors()}
    new = [cls for cls, reason in found.items() if reason and cls.__name__ not in UNDERIVABLE]
    assert not new, (
        f"{_listed(new)}: {found[new[0]]}. See in which models it attends to text: serve them by another processor, or"
        " refuse them in processors/refused.py; and name it here with its kind."
    )
    for cls, reason in found.items():
        if reason is None:
            assert cls.__name__ not in UNDERIVABLE, f"{cls.__name__} can be derived now; take it out of UNDERIVABLE."
            assert issubclass(derive(cls), cls)
        else:
            assert UNDERIVABLE[cls.__name__] in reason
            with pytest.raises(UnsupportedModelError, match=cls.__name__):
                derive(cls)


def test_what_is_named_is_there():
    """Names that no class has any more, or never had, are taken out."""
    models, modules = {cls.__name__ for cls in denoisers()}, {cls.__module__ for cls in pipelines()}
    assert set(OTHER_MODELS) <= models
    assert set(LAYOUTS) | set(REFUSED) <= models
    assert {*REFUSED_PIPELINES, *BROKEN, *LIKE_ANOTHER} <= {cls.__name__ for cls in pipelines()}
    assert set(UNDERIVABLE) <= {cls.__name__ for cls in processors()}
    assert not [place for place in OTHER_PIPELINES if not any(f"{each}.".startswith(f"{place}.") for each in modules)]


def test_the_scan_sees_what_there_is():
    """By names that anybody can look up: a scan that finds nothing finds nothing new either."""
    names = {cls.__name__ for cls in pipelines()}
    public = {name for name in dir(diffusers) if name.endswith("Pipeline") and not name.startswith(("Auto", "Diff"))}
    # Those that are not loaded here stand for packages that are not installed.
    assert {name for name in public if "dummy" not in getattr(diffusers, name).__module__} - {
        "ModularPipeline"
    } <= names
    assert {"UNet2DConditionModel", "FluxTransformer2DModel", "StableCascadeUNet"} <= {
        cls.__name__ for cls in denoisers()
    }
    assert {"AttnProcessor2_0", "FluxAttnProcessor", "PAGCFGIdentitySelfAttnProcessor2_0"} <= {
        cls.__name__ for cls in processors()
    }


def test_pipelines_and_models_that_do_something_else_are_refused_with_what_they_do():
    pipe = FAMILIES["stable-diffusion-1"].make()

    class Other(type(pipe)):
        __module__ = "diffusers.pipelines.wan.pipeline_wan"

    other = Other(**pipe.components, requires_safety_checker=False)
    with pytest.raises(UnsupportedModelError, match="Other cannot be attended: it makes a video"):
        promptattn.attend(other, PROMPT)

    class UNetMotionModel(type(pipe.unet)):
        pass

    pipe.unet.__class__ = UNetMotionModel
    with pytest.raises(UnsupportedModelError, match="UNetMotionModel cannot be attended: it makes a video"):
        promptattn.attend(pipe, PROMPT)


def test_pipelines_are_refused_by_a_part_of_theirs_where_they_have_no_denoiser_of_the_usual_name():
    pipe = FAMILIES["stable-cascade"].make()
    with pytest.raises(UnsupportedModelError, match=r"cannot be attended: words reach only its prior"):
        promptattn.attend(pipe, PROMPT)


@pytest.mark.parametrize("name", BROKEN)
def test_what_diffusers_cannot_run_itself(name):
    pipe = Variant(getattr(diffusers, name), "chroma").make()
    options = FAMILIES["chroma"].arguments(**SIZE, image=_PICTURE, mask_image=_PICTURE[:, :1])
    # Where it runs by now, make it a variant in tests/families/variants.py.
    with pytest.raises(AttributeError, match=BROKEN[name]):
        pipe(**options)


_PICTURE = VARIANTS[0].given["image"]

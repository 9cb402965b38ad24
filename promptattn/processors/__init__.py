"""Where diffusers and transformers meet the attention core.

The processors here are ordinary diffusers processors: pass them to `set_attn_processor`, one instance per layer.

    from promptattn.core import KeyWeights
    from promptattn.processors import UNetAttnProcessor

    processors = dict(pipe.unet.attn_processors)
    for name in processors:
        if "attn2" in name:                                   # cross-attention: keys are text tokens
            processors[name] = UNetAttnProcessor()
            # rows of the batch are [negative, prompt]; double the odds of the prompt's token 2
            processors[name].site.key_weights = KeyWeights(torch.tensor([2]), torch.tensor([[1.0], [2.0]]))
    pipe.unet.set_attn_processor(processors)

Without weights and without columns they compute exactly what the stock processors compute, to the bit.
"""

from diffusers.models.attention_processor import (
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
    FusedJointAttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
    JointAttnProcessor2_0,
)
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor as StockFluxAttnProcessor

from promptattn.processors.by_hand import processors_for
from promptattn.processors.derive import DerivedProcessor, derive, why_not
from promptattn.processors.install import Installation, attention_layers
from promptattn.processors.layouts import LAYOUTS, Layout, layout_of
from promptattn.processors.rows import Block, recognise
from promptattn.processors.segments import Segment, segments_of
from promptattn.processors.site import Site
from promptattn.processors.text_encoder import TextEncoderAttention

__all__ = [
    "LAYOUTS",
    "Block",
    "DerivedProcessor",
    "FluxAttnProcessor",
    "FusedJointAttnProcessor",
    "FusedUNetAttnProcessor",
    "IPAdapterUNetAttnProcessor",
    "Installation",
    "JointAttnProcessor",
    "Layout",
    "Segment",
    "Site",
    "TextEncoderAttention",
    "UNetAttnProcessor",
    "attention_layers",
    "derive",
    "layout_of",
    "processors_for",
    "recognise",
    "segments_of",
    "why_not",
]

UNetAttnProcessor = derive(AttnProcessor2_0, "UNetAttnProcessor")
FusedUNetAttnProcessor = derive(FusedAttnProcessor2_0, "FusedUNetAttnProcessor")
IPAdapterUNetAttnProcessor = derive(IPAdapterAttnProcessor2_0, "IPAdapterUNetAttnProcessor")
JointAttnProcessor = derive(JointAttnProcessor2_0, "JointAttnProcessor")
FusedJointAttnProcessor = derive(FusedJointAttnProcessor2_0, "FusedJointAttnProcessor")
FluxAttnProcessor = derive(StockFluxAttnProcessor, "FluxAttnProcessor")

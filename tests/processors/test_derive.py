import copy
import gc
import inspect
import sys

import pytest
import tiny_pipelines as tiny
import torch
import torch._dynamo.testing
from diffusers.models import attention_processor as stock

from promptattn.core import Columns, KeyWeights
from promptattn.errors import UnsupportedModelError
from promptattn.processors import DerivedProcessor, UNetAttnProcessor, attention_layers, derive, why_not

DERIVABLE = [
    stock.AttnProcessor2_0,
    stock.FusedAttnProcessor2_0,
    stock.IPAdapterAttnProcessor2_0,
    stock.JointAttnProcessor2_0,
    stock.PAGIdentitySelfAttnProcessor2_0,
]
NOT_DERIVABLE = [stock.AttnProcessor, stock.SlicedAttnProcessor, stock.XFormersAttnProcessor]


@pytest.mark.parametrize("cls", DERIVABLE)
def test_a_derived_class_keeps_type_and_signature(cls):
    derived = derive(cls)
    assert issubclass(derived, cls)
    assert derive(cls) is derived
    assert list(inspect.signature(derived.__call__).parameters) == list(inspect.signature(cls.__call__).parameters)


@pytest.mark.parametrize("cls", NOT_DERIVABLE)
def test_a_class_that_never_calls_the_library_is_refused_with_its_name(cls):
    assert why_not(cls)
    with pytest.raises(UnsupportedModelError, match=cls.__name__):
        derive(cls)


def layer(**options):
    torch.manual_seed(0)
    return stock.Attention(query_dim=32, cross_attention_dim=24, heads=4, dim_head=8, **options).eval()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 20, 32, generator=generator), torch.randn(2, 7, 24, generator=generator)


@torch.no_grad()
def test_neutral_is_the_stock_processor_to_the_bit(inputs):
    attention = layer()
    reference = attention(*inputs)
    attention.set_processor(UNetAttnProcessor())
    assert torch.equal(attention(*inputs), reference)


@torch.no_grad()
def test_capture_leaves_the_output_alone_and_equals_a_float64_softmax(inputs):
    attention = layer()
    reference = attention(*inputs)
    attention.set_processor(UNetAttnProcessor())
    buffer = torch.zeros(2, 20, 7)
    attention.processor.site.columns = Columns(torch.arange(7), into=buffer)
    assert torch.equal(attention(*inputs), reference)

    image, text = (each.double() for each in inputs)
    wide = attention.double()
    query = wide.to_q(image).view(2, 20, 4, 8).transpose(1, 2)
    key = wide.to_k(text).view(2, 7, 4, 8).transpose(1, 2)
    expected = (query @ key.mT * 8**-0.5).softmax(-1).mean(1)
    torch.testing.assert_close(buffer.double(), expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_weight_zero_deletes_the_key_and_two_writes_it_twice(inputs):
    image, text = inputs
    attention = layer()
    deleted = attention(image, torch.cat([text[:, :3], text[:, 4:]], 1))
    doubled = attention(image, torch.cat([text, text[:, 3:4]], 1))
    attention.set_processor(UNetAttnProcessor())
    for weight, expected in ((0.0, deleted), (2.0, doubled)):
        attention.processor.site.key_weights = KeyWeights(torch.tensor([3]), torch.tensor([weight]))
        torch.testing.assert_close(attention(image, text), expected, rtol=0, atol=2e-6)


@torch.no_grad()
def test_an_attention_call_with_other_keys_passes_untouched(inputs):
    """IP-Adapter's image tokens go through the same processor after the text."""
    image, text = inputs
    processor = stock.IPAdapterAttnProcessor2_0(32, 24, num_tokens=(4,), scale=0.7)
    attention = layer()
    attention.set_processor(processor)
    pictures = [torch.randn(2, 1, 4, 24, generator=torch.Generator().manual_seed(3)).flatten(1, 2)]
    without = attention(image, (torch.cat([text[:, :3], text[:, 4:]], 1), pictures))
    derived = derive(type(processor)).standing_for(processor)
    attention.set_processor(derived)
    derived.site.keys = 7
    derived.site.key_weights = KeyWeights(torch.tensor([3]), torch.tensor([0.0]))
    torch.testing.assert_close(attention(image, (text, pictures)), without, rtol=0, atol=2e-6)


def test_state_is_shared_with_the_stock_processor():
    processor = stock.IPAdapterAttnProcessor2_0(32, 24)
    derived = derive(type(processor)).standing_for(processor)
    derived.scale = [0.25]
    assert processor.scale == [0.25]
    assert derived.to_k_ip is processor.to_k_ip
    assert set(dict(derived.named_modules())) == set(dict(processor.named_modules()))


def test_a_copy_stands_on_its_own():
    original = UNetAttnProcessor()
    original.site.key_weights = KeyWeights(torch.tensor([0]), torch.tensor([0.0]))
    twin = copy.deepcopy(original)
    assert type(twin) is UNetAttnProcessor
    assert not twin.site.active
    assert twin._call.__globals__ is not original._call.__globals__


def test_the_modules_behind_processors_go_with_them():
    gc.collect()
    before = {name for name in sys.modules if name.startswith("promptattn.processors._site_")}
    processors = [UNetAttnProcessor() for _ in range(5)]
    assert len({n for n in sys.modules if n.startswith("promptattn.processors._site_")} - before) == 10
    del processors
    gc.collect()
    assert {n for n in sys.modules if n.startswith("promptattn.processors._site_")} <= before


def test_two_processors_never_share_a_site():
    pipe = tiny.sd()
    pipe.unet.set_attn_processor({name: UNetAttnProcessor() for name in pipe.unet.attn_processors})
    sites = {id(module.processor.site) for module in attention_layers(pipe.unet).values()}
    assert len(sites) == len(attention_layers(pipe.unet))
    assert all(isinstance(module.processor, DerivedProcessor) for module in attention_layers(pipe.unet).values())


@torch.no_grad()
def test_compiles_to_one_graph_and_once_for_all_weights():
    torch._dynamo.reset()
    unet = tiny.unet(
        block_out_channels=(16,), down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",)
    )
    processors = {name: UNetAttnProcessor() for name in unet.attn_processors}
    unet.set_attn_processor(dict(processors))
    sites = [processor.site for name, processor in processors.items() if "attn2" in name]
    for site in sites:
        site.key_weights = KeyWeights(torch.tensor([3]), torch.tensor([1.5]))
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(unet, backend=counter, fullgraph=True)
    arguments = torch.randn(2, 4, 8, 8), torch.tensor(3), torch.randn(2, 12, 32)
    outputs = []
    for weight in (1.5, 0.25, -2.0):
        for site in sites:
            site.key_weights = KeyWeights(torch.tensor([3]), torch.tensor([weight]))
        outputs.append(compiled(*arguments).sample)
        torch.testing.assert_close(outputs[-1], unet(*arguments).sample)
    assert counter.frame_count == 1
    assert not torch.allclose(outputs[0], outputs[1])


def test_context_parallelism_is_refused_by_name():
    pipe = tiny.flux()
    layer = pipe.transformer.transformer_blocks[0].attn
    layer.set_processor(processor := derive(type(layer.processor)).standing_for(layer.processor, "blocks.0"))
    processor._parallel_config = object()
    processor.site.columns = Columns(torch.tensor([0]))
    with pytest.raises(UnsupportedModelError, match=r"blocks\.0 runs with context parallelism"):
        pipe("a cat", num_inference_steps=1, height=16, width=16, max_sequence_length=16, output_type="latent")

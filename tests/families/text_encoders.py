"""Tiny random language models of the kinds that text-to-image pipelines encode their prompts with."""

from typing import Any

import torch
import transformers

# Room for every tokenizer in `language_tokenizers`.
VOCABULARY = 1200
WIDTH = 32
PRIOR_TOKENS = 64


def language_model(**extra: Any) -> dict[str, Any]:
    """What the configurations of decoder-only models have in common."""
    sizes = dict(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return sizes | extra


def bert_model(**extra: Any) -> dict[str, Any]:
    """What the configurations of models of BERT's kind have in common."""
    sizes = dict(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=300,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    return sizes | extra


def _made(kind: type, config: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return kind(config).eval()


def gemma() -> Any:
    return _made(transformers.GemmaModel, transformers.GemmaConfig(**language_model()))


def gemma2() -> Any:
    return _made(transformers.Gemma2Model, transformers.Gemma2Config(**language_model()))


def glm() -> Any:
    return _made(transformers.GlmModel, transformers.GlmConfig(**language_model(partial_rotary_factor=0.5)))


def llama() -> Any:
    return _made(transformers.LlamaForCausalLM, transformers.LlamaConfig(**language_model(attn_implementation="eager")))


def smollm3() -> Any:
    return _made(transformers.SmolLM3ForCausalLM, transformers.SmolLM3Config(**language_model()))


def qwen3(head: bool = False, layers: int = 3) -> Any:
    kind = transformers.Qwen3ForCausalLM if head else transformers.Qwen3Model
    return _made(kind, transformers.Qwen3Config(**language_model(num_hidden_layers=layers)))


def qwen25_vl() -> Any:
    text = language_model(
        rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    )
    del text["head_dim"]
    vision = dict(
        depth=1,
        hidden_size=16,
        intermediate_size=16,
        num_heads=2,
        out_hidden_size=WIDTH,
        fullatt_block_indexes=[0],
        patch_size=4,
    )
    return _made(
        transformers.Qwen2_5_VLForConditionalGeneration,
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision),
    )


def qwen3_vl(head: bool = True, layers: int = 3) -> Any:
    text = language_model(
        num_hidden_layers=layers,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0},
    )
    vision = dict(
        depth=1,
        hidden_size=16,
        intermediate_size=16,
        num_heads=2,
        out_hidden_size=WIDTH,
        patch_size=4,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0],
    )
    kind = transformers.Qwen3VLForConditionalGeneration if head else transformers.Qwen3VLModel
    return _made(kind, transformers.Qwen3VLConfig(text_config=text, vision_config=vision))


def mistral3(head: bool = True) -> Any:
    vision = transformers.PixtralVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    kind = transformers.Mistral3ForConditionalGeneration if head else transformers.Mistral3Model
    config = transformers.Mistral3Config(
        text_config=transformers.MistralConfig(**language_model()), vision_config=vision
    )
    return _made(kind, config)


def bert(width: int = WIDTH) -> Any:
    config = transformers.BertConfig(**bert_model(hidden_size=width))
    return _made(transformers.BertModel, config)


def byt5(width: int = WIDTH) -> Any:
    config = transformers.T5Config(d_model=width, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=400)
    return _made(transformers.T5EncoderModel, config)


def t5_gemma() -> Any:
    from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

    module = language_model(rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    config = transformers.T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=VOCABULARY)
    return _made(T5GemmaEncoder, config.encoder)


def multilingual_clip(width: int = WIDTH) -> Any:
    """XLM-RoBERTa with a projection: the encoder of Kandinsky 2.1."""
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    config = MCLIPConfig(**bert_model(transformerDimSize=WIDTH, imageDimSize=width))
    return _made(MultilingualCLIP, config)


def roberta_series() -> Any:
    """AltDiffusion's, which reads many languages."""
    from diffusers.pipelines.deprecated.alt_diffusion import modeling_roberta_series as series

    config = series.RobertaSeriesConfig(**bert_model(project_dim=WIDTH))
    return _made(series.RobertaSeriesModelWithTransformation, config)


def clip_vision(width: int = WIDTH) -> Any:
    config = transformers.CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=48,
        projection_dim=width,
        num_attention_heads=4,
        num_hidden_layers=1,
        image_size=32,
        patch_size=16,
    )
    return _made(transformers.CLIPVisionModelWithProjection, config)


def chatglm() -> Any:
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel

    config = ChatGLMConfig(
        num_layers=2,
        hidden_size=WIDTH,
        ffn_hidden_size=48,
        kv_channels=8,
        num_attention_heads=4,
        multi_query_attention=True,
        multi_query_group_num=2,
        padded_vocab_size=200,
        seq_length=256,
        add_qkv_bias=True,
        rmsnorm=True,
        post_layer_norm=True,
        original_rope=True,
        bias_dropout_fusion=False,
    )
    model = _made(ChatGLMModel, config)
    with torch.no_grad():
        # Its own initialisation leaves the memory as it finds it.
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.normal_(std=0.2)
    return model


def glm_image() -> Any:
    """The autoregressive model that writes GLM-Image's prior tokens; its answers are of the vision vocabulary alone."""
    text = dict(
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        vision_vocab_size=PRIOR_TOKENS,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": (4, 2, 2)},
        pad_token_id=0,
        eos_token_id=None,
        # Large enough for its answer to depend on the prompt.
        initializer_range=0.5,
    )
    vision = dict(depth=1, hidden_size=16, num_heads=2, image_size=32, patch_size=8, intermediate_size=16)
    codes = dict(embed_dim=16, num_embeddings=PRIOR_TOKENS, latent_channels=16)
    config = transformers.GlmImageConfig(text_config=text, vision_config=vision, vq_config=codes)
    return _made(transformers.GlmImageForConditionalGeneration, config)

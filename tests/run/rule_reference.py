"""Attention by the rules of Prompt-to-Prompt and NegPip, written out plainly in float64."""

from diffusers.models.attention_processor import AttnProcessor2_0, JointAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from joint_reference import given_back, likelihood_of, on_text, projections


class RuleProcessor(AttnProcessor2_0):
    """Cross-attention; weights: `[batch, key]`, one row per batch row."""

    def __init__(self, rule, weights):
        super().__init__()
        self.rule, self.weights = rule, weights.double()

    def __call__(
        self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None, *args, **kwargs
    ):
        def split(tensor):
            return tensor.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        def project(layer, text):
            return text.double() @ layer.weight.double().mT

        text, weights = encoder_hidden_states, self.weights
        query = split(attn.to_q(hidden_states))
        if self.rule == "negpip":
            # Embeddings of |w| times the length for the keys, and of w times for the values.
            key = split(project(attn.to_k, text * weights.abs()[..., None]))
            value = split(project(attn.to_v, text * weights[..., None]))
            output = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1) @ value
        else:
            key, value = split(project(attn.to_k, text)), split(project(attn.to_v, text))
            mass = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
            output = (mass * weights[:, None, None, :]) @ value
        return attn.to_out[0](output.transpose(1, 2).flatten(2).to(hidden_states.dtype))


class _PromptToPrompt:
    """Joint attention whose map has columns multiplied after the softmax; `weights()`: of the call, `[batch, row]`."""

    def __init__(self, weights, rows="image", texts=0):
        super().__init__()
        self.weights, self.rows, self.texts = weights, rows, texts

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, image_rotary_emb=None):
        query, key, value, text, image = projections(
            attn, hidden_states, encoder_hidden_states, image_rotary_emb, self.texts
        )
        likelihood = likelihood_of(query, key)
        mass = likelihood / likelihood.sum(-1, keepdim=True)
        output = (mass * on_text(self.weights(), mass, text, image, self.rows)) @ value
        return given_back(attn, output, hidden_states, encoder_hidden_states, text, image)


class RuleJointProcessor(_PromptToPrompt, JointAttnProcessor2_0):
    pass


class RuleFluxProcessor(_PromptToPrompt, FluxAttnProcessor):
    pass

"""Finding out where a denoiser that no table knows takes its text and its image.

Its pipeline is called with a prompt, another prompt and another seed, and stopped before the denoiser computes
anything: the arguments that differ are the text and the latents. Then rows of the text are changed and the keys of all
attention layers compared, with attention itself cut, so that a changed row stays where it is however deep the layer.
"""

from promptattn.discovery.finding import layout_for

__all__ = ["layout_for"]

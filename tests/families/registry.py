"""Every family of text-to-image pipelines in diffusers that these tests build, by name."""

from families import crossing, joint, single_stream, unets

FAMILIES = unets.FAMILIES | joint.FAMILIES | crossing.FAMILIES | single_stream.FAMILIES

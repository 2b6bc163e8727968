"""Public families of decoders as specs, with the names that their tensors have in the transformers library."""

from tests.parity.families import gpt, latent, llama, placed

FAMILIES = {**gpt.FAMILIES, **latent.FAMILIES, **llama.FAMILIES, **placed.FAMILIES}

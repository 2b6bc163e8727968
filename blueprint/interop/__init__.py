"""Checkpoints in and out, by family files: a template of a spec and rules for its tensors."""

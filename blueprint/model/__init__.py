"""A plan becomes an `nn.Module`. Torch begins here; Lightning does not."""

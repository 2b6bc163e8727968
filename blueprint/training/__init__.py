"""Training: data, module, run, callbacks and strategies."""

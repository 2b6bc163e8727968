"""How several devices share the work: what a spec's `trainer.strategy` becomes."""

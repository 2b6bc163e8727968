"""Several devices for one run: how the model is laid over them, and what travels between them."""

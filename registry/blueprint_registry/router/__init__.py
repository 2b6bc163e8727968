"""Routers: which experts a token goes to."""

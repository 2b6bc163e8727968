"""The components that ship with Blueprint: a folder a kind, a file a component, and the file has the spec's name."""

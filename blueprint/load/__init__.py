"""Text becomes one tree that remembers where everything was written: reading, merging, overrides, `${…}`, plugins."""

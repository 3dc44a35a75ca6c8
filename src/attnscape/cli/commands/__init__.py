"""The commands: one module per command, with a function `run` that takes the options."""

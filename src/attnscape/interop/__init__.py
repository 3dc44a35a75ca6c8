"""Other frameworks: their optimizers and models, measured by the same definitions.

Nothing is imported here: `attnscape.interop.torch` needs the extra `attnscape[torch]`.
"""

"""The exception for mistakes that users can correct."""


class UsageError(ValueError):
    """An input cannot be used; the message says what was given and what is allowed."""

"""The one exception for what users can mend themselves."""


class UsageError(ValueError):
    """What was given cannot be used; the message says what was given and what is allowed."""

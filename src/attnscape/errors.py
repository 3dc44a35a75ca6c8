"""The exception for mistakes that users can correct."""


class UsageError(ValueError):
    """An input cannot be used; the message says what was given and what is allowed.

    Examples:
        >>> from attnscape import RegressionTask
        >>> from attnscape.errors import UsageError
        >>> try:
        ...     RegressionTask(dim=0)
        ... except UsageError as error:
        ...     print(error)
        dim is 0; it must be a whole number of at least 1.
    """

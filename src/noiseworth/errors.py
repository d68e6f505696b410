"""The one exception that users are meant to read: what is wrong, where, and the remedy, in one line."""


class UserError(ValueError):
    """Bad input or settings. The command line prints its message as one line and ends with exit code 2."""

"""The errors that the package itself raises."""


class CvfeederError(Exception):
    """The base of the package's errors; its text says what is wrong and what to do."""


class InvalidMessage(CvfeederError, ValueError):  # noqa: N818 - it names what it is about
    """A message is not what cvfeeder publishes: a header, or the payload's size, is wrong."""


class SpecMismatch(CvfeederError):  # noqa: N818 - it names what it is about
    """A tensor was made with other preprocessing than the consumer expects."""

"""The errors that the package itself raises."""


class CvfeederError(Exception):
    """The base of the package's errors; its text says what is wrong and what to do."""


class InvalidMessage(CvfeederError, ValueError):  # noqa: N818 - it names what it is about
    """A message is not what cvfeeder publishes: a header, or the payload's size, is wrong."""


class SpecMismatch(CvfeederError):  # noqa: N818 - it names what it is about
    """A tensor was made with other preprocessing than the consumer expects."""


class ReadTimeout(CvfeederError, TimeoutError):  # noqa: N818 - as the built-in one does not say
    """Nothing came within the time that was given. The next read may have more luck."""


class Closed(CvfeederError):  # noqa: N818 - it names what it is about
    """The reader was closed, perhaps by another task or thread."""


class RequestRefused(CvfeederError):  # noqa: N818 - it names what it is about
    """A running cvfeeder refused a request; code is one of HTTP, for example "429"."""

    def __init__(self, text: str, code: str) -> None:
        """Take the reason, and its code."""
        super().__init__(text)
        self.code = code

"""The errors that the package itself raises."""


class CvfeederError(Exception):
    """The base of the package's errors; its text says what is wrong and what to do."""


class InvalidMessage(CvfeederError, ValueError):  # noqa: N818 - it names what it is about
    """A message is not what cvfeeder publishes: a header, or the payload's size, is wrong."""


class SpecMismatch(CvfeederError):  # noqa: N818 - it names what it is about
    """A tensor was made with other preprocessing than the consumer expects."""


class ReadTimeout(CvfeederError, TimeoutError):  # noqa: N818 - as the built-in one does not say
    """Nothing came within the time that was given. The next read may have more luck."""


class Refused(CvfeederError):  # noqa: N818 - it names what it is about
    """A feeder has refused a request, or could not finish it.

    code     the feeder's, like those of HTTP: "429" if too many images were asked for
    wait     after how many seconds the same request may be answered, 0 if that is not known
    """

    def __init__(self, code: str, text: str, wait: int = 0) -> None:
        """Note what the feeder has answered."""
        super().__init__(code, text, wait)
        self.code, self.text, self.wait = code, text, wait

    def __str__(self) -> str:
        """Return the code and the text."""
        return f"{self.code}: {self.text}"


class MessagesLost(CvfeederError):  # noqa: N818 - it names what it is about
    """NATS has lost messages that belong between others. What came before is whole."""


class Closed(CvfeederError):  # noqa: N818 - it names what it is about
    """The reader was closed, perhaps by another task or thread."""

/** The base of this package's errors. Its message says what is wrong and what to do. */
export class CvfeederError extends Error {
  override name = "CvfeederError";
}

/** A message is not what cvfeeder publishes: a header, or the payload's size, is wrong. */
export class InvalidMessageError extends CvfeederError {
  override name = "InvalidMessageError";
}

/** A tensor was made with other preprocessing than the consumer expects. */
export class SpecMismatchError extends CvfeederError {
  override name = "SpecMismatchError";
}

/** Nothing came within the time that was given. The next read may have more luck. */
export class ReadTimeoutError extends CvfeederError {
  override name = "ReadTimeoutError";
}

/** The reader was closed, perhaps by another task. */
export class ClosedError extends CvfeederError {
  override name = "ClosedError";
}

/** A request for a frame was refused. */
export class FrameError extends CvfeederError {
  override name = "FrameError";

  constructor(
    message: string,
    /** As docs/consumers.md lists them: 404 for an unknown stream, 429 for too many requests. */
    readonly code: number,
  ) {
    super(message);
  }
}

/** How JetStream is answered; @internal */
export type Answer = (text: string) => void;

/** What all deliveries have in common: a subject, and acknowledgement. */
export abstract class Delivered {
  #answer: Answer | undefined;
  /** Where JetStream expects answers. @internal */
  _inboxes: readonly string[] = [];

  constructor(
    /** The NATS subject, for example "cvf.t.front-door.detector". */
    readonly subject: string,
  ) {}

  /** @internal */
  _answerBy(inboxes: readonly string[], answer: Answer): void {
    this._inboxes = inboxes;
    this.#answer = answer;
  }

  /**
   * Acknowledges this to JetStream, so that it is not delivered again.
   *
   * If NATS is away, the answer is kept, and sent when it is back. Throws ClosedError if the
   * reader was closed. Without JetStream this does nothing.
   */
  ack(): void {
    this.#answer?.("+ACK");
  }

  /** Asks JetStream to deliver this again, after a delay in milliseconds. */
  nak(delay = 0): void {
    this.#answer?.(delay > 0 ? `-NAK {"delay": ${Math.round(delay * 1e6)}}` : "-NAK");
  }

  /** Asks JetStream for more time: its wait for the acknowledgement starts again. */
  inProgress(): void {
    this.#answer?.("+WPI");
  }
}

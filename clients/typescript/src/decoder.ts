import { Joiner } from "./chunks.js";
import { InvalidMessageError, SpecMismatchError } from "./errors.js";
import { parseEnd, parseGapEvent, parseInlineGap, type Gap } from "./gap.js";
import type { HeaderRecord } from "./headers.js";
import type { Message } from "./message.js";
import { parseTensor, type Tensor } from "./tensor.js";

/**
 * Returns the tensor, or the gap in its place, that one whole message carries.
 *
 * For programs that read NATS themselves. Throws InvalidMessageError, also for a part of a
 * tensor.
 */
export function parse(subject: string, headers: HeaderRecord, data: Uint8Array): Tensor | Gap {
  if ("Cvf-Chunk" in headers) {
    throw new InvalidMessageError("header Cvf-Chunk: the message is only a part of a tensor");
  }
  return parseWhole(subject, headers, data);
}

function parseWhole(subject: string, headers: HeaderRecord, data: Uint8Array): Tensor | Gap {
  if (subject.startsWith("cvf.gap.")) {
    return parseGapEvent(subject, data);
  }
  if ("Cvf-End" in headers) {
    return parseEnd(subject, headers, data);
  }
  const kind = "Cvf-Gap" in headers ? parseInlineGap : parseTensor;
  return kind(subject, headers, data);
}

export interface DecoderOptions {
  /** Bytes of incomplete tensors that are kept. */
  readonly limit: number;
  readonly expectSpec: readonly string[];
  readonly strict: boolean;
  readonly log: (text: string) => void;
  /** How JetStream is answered; undefined without JetStream. */
  readonly answer?: (inboxes: readonly string[], text: string) => void;
}

/** Turns the messages of a subscription into tensors and gaps. */
export class Decoder {
  invalid = 0;
  readonly joiner: Joiner;
  #told = -Infinity;

  constructor(private readonly options: DecoderOptions) {
    this.joiner = new Joiner(options.limit, options.answer !== undefined);
  }

  /**
   * Returns what msg carries or completes, undefined while parts of it are missing. Throws
   * SpecMismatchError and InvalidMessageError.
   */
  decode(msg: Message): { item: Tensor | Gap; messages: readonly Message[] } | undefined {
    const event = msg.subject.startsWith("cvf.gap.");
    const whole = event ? { ...msg, messages: [msg] } : this.joiner.add(msg);
    if (whole === undefined) {
      return undefined;
    }
    const item = parseWhole(msg.subject, whole.headers, whole.data);
    const { expectSpec, answer } = this.options;
    if (!event && expectSpec.length > 0 && !expectSpec.includes(item.spec)) {
      throw new SpecMismatchError(
        `${msg.subject} was made with the spec ${item.spec.slice(0, 80)}, but expected is` +
          ` ${expectSpec.join(" or ")}: the output's preprocessing has changed`,
      );
    }
    if (answer !== undefined) {
      const inboxes = whole.messages.map(({ reply }) => reply);
      item._answerBy(inboxes, (text) => answer(inboxes, text));
    }
    return { item, messages: whole.messages };
  }

  /** Counts an invalid message and logs it, at most once a second; returns whether to throw it. */
  tolerate(subject: string, err: InvalidMessageError): boolean {
    this.invalid++;
    if (!this.options.strict && performance.now() - this.#told >= 1000) {
      this.#told = performance.now();
      this.options.log(`${subject.slice(0, 100)}: ${err.message} (${this.invalid} invalid so far)`);
    }
    return this.options.strict;
  }
}

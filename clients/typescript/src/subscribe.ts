import type { NatsConnection } from "@nats-io/nats-core";
import type { Connection, Item, Source } from "./connection.js";
import { Decoder } from "./decoder.js";
import { CvfeederError, InvalidMessageError } from "./errors.js";
import { Gap } from "./gap.js";
import { Mailbox } from "./mailbox.js";
import { readMessage } from "./message.js";
import { BUFFER, checkOptions, serversOf, subjectsOf, type ConnectOptions, type ReadOptions } from "./options.js";
import { Reader, type DecodingSource } from "./reader.js";
import { Tensor } from "./tensor.js";
import { aborted } from "./timing.js";

/** What `subscribe` takes beside the subjects. */
export interface SubscribeOptions extends ReadOptions {
  /** Whether only the newest tensor of each subject waits, and beside it the newest late one. */
  newest?: boolean;
  /**
   * All subscriptions with the same queue share the tensors: each goes to one of them. That
   * does not work for tensors that come in parts.
   */
  queue?: string;
  /** Bytes of tensors that wait; then the oldest are dropped. 256 MiB by default. */
  buffer?: number;
}

/** A subscription to subjects; made by `subscribe` and `subscribeGaps`. */
export class Subscription<T> extends Reader<T> {
  readonly #subjects: readonly string[];
  readonly #settings: SubscribeOptions;

  /** @internal */
  constructor(subjects: readonly string[], urls: readonly string[], options: SubscribeOptions) {
    super(urls, options, new Subscribed(subjects, options));
    this.#subjects = subjects;
    this.#settings = options;
  }

  /** How many items were dropped because the consumer was too slow. */
  get skipped(): number {
    return this.source.mailbox.skipped;
  }

  /** @internal */
  protected override newSource(): DecodingSource {
    return new Subscribed(this.#subjects, this.#settings);
  }
}

class Subscribed implements Source {
  readonly decoder: Decoder;
  readonly mailbox: Mailbox<Item>;
  #heard = false;
  #log: (text: string) => void = () => undefined;

  constructor(
    readonly subjects: readonly string[],
    private readonly options: SubscribeOptions,
  ) {
    const limit = options.buffer ?? BUFFER;
    this.mailbox = new Mailbox(limit);
    this.decoder = new Decoder({
      limit,
      expectSpec: [options.expectSpec ?? []].flat(),
      strict: options.strict ?? false,
      log: (text) => this.#log(text),
    });
  }

  get silent(): boolean {
    return !this.#heard;
  }

  async run(nc: NatsConnection, connection: Connection, signal: AbortSignal): Promise<void> {
    this.#log = connection.log;
    const queue = this.options.queue === undefined ? {} : { queue: this.options.queue };
    for (const subject of this.subjects) {
      nc.subscribe(subject, {
        ...queue,
        // An error here would end the reading of nats.js without a word.
        callback: (err, msg) => {
          try {
            if (err === null) {
              this.#receive(msg);
            }
          } catch (failure) {
            connection.deny(failure as Error);
          }
        },
      });
    }
    await nc.flush();
    connection.setReady();
    await aborted(signal);
  }

  giveBack(): Promise<void> {
    return Promise.resolve();
  }

  #receive(msg: Parameters<typeof readMessage>[0]): void {
    this.#heard = true;
    let item: Tensor | Gap | undefined;
    try {
      item = this.decoder.decode(readMessage(msg))?.item;
    } catch (err) {
      if (!(err instanceof CvfeederError)) {
        throw err;
      }
      if (!(err instanceof InvalidMessageError) || this.decoder.tolerate(msg.subject, err)) {
        this.mailbox.put(err);
      }
      return;
    }
    if (item === undefined || (item instanceof Gap && this.options.gaps !== true)) {
      return;
    }
    const size = item instanceof Tensor ? item.payload.length : 0;
    // A late tensor is older than those that come on time, and replaces none of them.
    const late = item instanceof Tensor && item.late;
    this.mailbox.put(item, size, this.options.newest === true ? `${item.kind} ${late} ${item.subject}` : undefined);
  }
}

/** What a reader yields, with gaps or without. */
export type Items<G extends boolean> = G extends true ? Tensor | Gap : Tensor;

/**
 * Returns the tensors that are published from now on, on a subject or several.
 *
 *     for await (const t of subscribe("cvf.t.*.detector", { newest: true })) { … }
 *
 * If a consumer is slower than its cameras, the oldest waiting tensors are dropped; with
 * newest, all but the newest of each subject. `skipped` counts them.
 */
export function subscribe<G extends boolean = false>(
  subject: string | readonly string[] = "cvf.t.>",
  options: SubscribeOptions & { gaps?: G } = {},
): Subscription<Items<G>> {
  checkOptions("subscribe", options, "newest gaps queue expectSpec strict buffer");
  return new Subscription(subjectsOf("subscribe", subject), serversOf("subscribe", options.servers), options);
}

/** Returns the gap events that are published from now on, as `subscribe` does tensors. */
export function subscribeGaps(
  subject: string | readonly string[] = "cvf.gap.>",
  options: ConnectOptions & { strict?: boolean } = {},
): Subscription<Gap> {
  checkOptions("subscribeGaps", options, "strict");
  const subjects = subjectsOf("subscribeGaps", subject);
  const other = subjects.find((one) => !one.startsWith("cvf.gap."));
  if (other !== undefined) {
    throw new TypeError(`'${other}' is not a subject of gap events, which start with cvf.gap.`);
  }
  return new Subscription(subjects, serversOf("subscribeGaps", options.servers), { ...options, gaps: true });
}

/**
 * Waits for the next tensor that is published, and returns it. Throws ReadTimeoutError if none
 * comes within timeout milliseconds, 10,000 by default.
 */
export async function latest(
  subject: string | readonly string[] = "cvf.t.>",
  options: ConnectOptions & { expectSpec?: string | readonly string[]; timeout?: number } = {},
): Promise<Tensor> {
  checkOptions("latest", options, "expectSpec timeout");
  const { timeout = 10_000, ...rest } = options;
  const reader = subscribe(subject, rest);
  try {
    return await reader.read({ timeout });
  } finally {
    await reader.close();
  }
}

import { createInbox, type Msg, type NatsConnection, type Subscription as NatsSubscription } from "@nats-io/nats-core";
import type { Connection, Item, Source } from "./connection.js";
import { DurableConsumer } from "./consumer.js";
import { Decoder } from "./decoder.js";
import { ClosedError, CvfeederError, InvalidMessageError, SpecMismatchError } from "./errors.js";
import { Gap } from "./gap.js";
import { Mailbox } from "./mailbox.js";
import { cost, readMessage, type Message } from "./message.js";
import { BUFFER, checkOptions, serversOf, subjectsOf, type ReadOptions } from "./options.js";
import { Reader, type DecodingSource } from "./reader.js";
import type { Items } from "./subscribe.js";
import { pause, timing } from "./timing.js";

const MAX_REFUSED = 1000;

/** What `pull` takes. */
export interface PullOptions extends ReadOptions {
  /** The name of the consumer in JetStream, which remembers what was acknowledged. */
  durable: string;
  /** The JetStream stream, "cvfeeder" by default. */
  stream?: string;
  /** One subject or several, "cvf.t.>" by default. */
  subject?: string | readonly string[];
  /** Messages that are fetched at a time, at most; 4 by default. */
  batch?: number;
  /** Bytes that are fetched at a time, at most, 32 MiB by default; a larger message comes alone. */
  batchBytes?: number;
}

/**
 * Returns the tensors of a JetStream stream, with a durable consumer of the given name.
 *
 *     for await (const t of pull({ durable: "detector", subject: "cvf.t.*.detector" })) {
 *       await store(await model(t.normalize()));
 *       t.ack();
 *     }
 *
 * The consumer is created if it is missing. A tensor that is not acknowledged within its
 * ack_wait, 30 s by default, is delivered again, as is one that `nak` gives back. What was
 * fetched and not read is given back at once when the reader is closed or its loop left.
 * Several processes may share a consumer, unless tensors come in parts.
 */
export function pull<G extends boolean = false>(options: PullOptions & { gaps?: G }): Pull<Items<G>> {
  checkOptions("pull", { ...options, subject: undefined }, "durable stream subject gaps expectSpec strict batch batchBytes");
  if (options.durable === undefined) {
    throw new TypeError("pull(): durable is missing: it names the consumer in JetStream");
  }
  const subjects = subjectsOf("pull", options.subject ?? "cvf.t.>");
  return new Pull(subjects, serversOf("pull", options.servers), options);
}

/** A durable consumer of a JetStream stream; made by `pull`. */
export class Pull<T> extends Reader<T> {
  readonly #subjects: readonly string[];
  readonly #settings: PullOptions;

  /** @internal */
  constructor(subjects: readonly string[], urls: readonly string[], options: PullOptions) {
    super(urls, options, new Pulled(subjects, options));
    this.#subjects = subjects;
    this.#settings = options;
  }

  /** @internal */
  protected override newSource(): DecodingSource {
    return new Pulled(this.#subjects, this.#settings);
  }
}

/** The end of a request, with the server's status; without one, all has come, or it was lost. */
interface End {
  readonly code: number;
  readonly text: string;
}

const LOST = -1;

class Pulled implements Source {
  readonly decoder: Decoder;
  readonly mailbox: Mailbox<Item>;
  readonly #options: PullOptions;
  #connection: Connection | undefined;
  #subscription: NatsSubscription | undefined;
  #heard = false;
  #refused: string[] = []; // where to answer for other specs
  #inbox = "";
  #request = 0; // the number of the last request
  #asked = 0; // messages that it asked for
  #open = 0; // messages that it may still bring
  #single = false; // the next message is larger than batchBytes
  #wake: () => void = () => undefined;
  #end: (end: End) => void = () => undefined;
  #touch: () => void = () => undefined;

  constructor(readonly subjects: readonly string[], options: PullOptions) {
    this.#options = options;
    // A batch is bounded, so the mailbox need not be.
    this.mailbox = new Mailbox(Infinity, () => this.#wake());
    this.decoder = new Decoder({
      limit: BUFFER,
      expectSpec: [options.expectSpec ?? []].flat(),
      strict: options.strict ?? false,
      log: (text) => this.#connection?.log(text),
      answer: (inboxes, text) => {
        if (this.#connection?.closed === true) {
          throw new ClosedError("the reader was closed: JetStream will deliver this again");
        }
        this.#answer(inboxes, text);
      },
    });
  }

  get silent(): boolean {
    return !this.#heard && this.mailbox.hungry;
  }

  async run(nc: NatsConnection, connection: Connection, signal: AbortSignal): Promise<void> {
    this.#connection = connection;
    const { stream = "cvfeeder", durable } = this.#options;
    const consumer = new DurableConsumer(stream, durable, this.subjects, connection.log);
    this.#inbox = createInbox(connection.inboxPrefix);
    this.#open = 0;
    this.#subscription = nc.subscribe(`${this.#inbox}.*`, { callback: (err, msg) => this.#receive(err, msg) });
    await nc.flush();
    const find = (): Promise<void> => consumer.find(nc, connection.patience, connection.ready, signal);
    await find();
    connection.setReady();
    while (!signal.aborted) {
      await this.#wanted(signal);
      while (this.mailbox.hungry && !signal.aborted) {
        const end = await this.#fetch(nc, consumer, signal);
        if (!signal.aborted && (await this.#isOver(end, consumer, signal))) {
          await find();
        }
      }
    }
  }

  /** Gives back what was fetched and not read, in order, so that the next reader gets it. */
  async giveBack(nc: NatsConnection): Promise<void> {
    await this.#subscription?.drain(); // now JetStream sends no more, and all has been received
    const replies = this.#refused.splice(0);
    for (const item of this.mailbox.clear()) {
      if (!(item instanceof CvfeederError)) {
        replies.push(...item._inboxes);
      }
    }
    replies.push(...this.decoder.joiner.unfinished().map(({ reply }) => reply));
    for (const reply of replies) {
      nc.publish(reply, "-NAK");
    }
  }

  /** Waits until somebody waits for a tensor. */
  #wanted(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (this.mailbox.hungry) {
        resolve();
      }
    });
  }

  /** Asks for a batch, and waits until the request has ended or is lost. */
  async #fetch(nc: NatsConnection, consumer: DurableConsumer, signal: AbortSignal): Promise<End> {
    const { batch = 4, batchBytes = 32 << 20 } = this.#options;
    this.#request++;
    this.#open = this.#asked = this.#single ? 1 : batch;
    const request = {
      batch: this.#open,
      expires: timing.expires * 1e6,
      idle_heartbeat: timing.heartbeat * 1e6,
      ...(this.#single ? {} : { max_bytes: batchBytes }),
    };
    this.#single = false;
    const ended = new Promise<End>((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      this.#touch = () => {
        clearTimeout(timer);
        timer = setTimeout(() => this.#end({ code: LOST, text: "" }), 2 * timing.heartbeat + 1000);
      };
      this.#end = (end) => {
        clearTimeout(timer);
        this.#touch = () => undefined;
        resolve(end);
      };
      signal.addEventListener("abort", () => this.#end({ code: LOST, text: "" }), { once: true });
      this.#touch();
    });
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${consumer.stream}.${consumer.durable}`, JSON.stringify(request), {
      reply: `${this.#inbox}.${this.#request}`,
    });
    return await ended;
  }

  /** Handles how a request has ended; returns whether the consumer has to be looked for. */
  async #isOver({ code, text }: End, consumer: DurableConsumer, signal: AbortSignal): Promise<boolean> {
    const brought = this.#asked - this.#open;
    this.#open = 0;
    const lower = text.toLowerCase();
    if (code === LOST || code === 503 || /server shutdown|leadership change/.test(lower)) {
      await pause(code === LOST ? 0 : timing.retry, signal);
      return true;
    }
    if (lower.includes("exceeds maxbytes")) {
      this.#single = brought === 0;
    } else if (lower.includes("exceeded maxwaiting")) {
      this.#connection?.log(`${consumer.name}: too many readers wait for it; trying again`);
      await pause(timing.retry, signal);
    } else if (![0, 404, 408].includes(code) && !lower.includes("batch completed")) {
      throw new CvfeederError(`${consumer.name}: ${code} ${text}${advice(lower)}`);
    }
    return false;
  }

  /** Takes what comes; an error here would end the reading of nats.js without a word. */
  #receive(err: Error | null, msg: Msg): void {
    if (err !== null) {
      return; // the connection hears of it, too
    }
    try {
      const status = msg.subject.startsWith(`${this.#inbox}.`) ? msg.headers : undefined;
      if (status === undefined) {
        this.#touch();
        this.#take(msg);
      } else if (msg.subject === `${this.#inbox}.${this.#request}`) {
        this.#touch();
        if (status.code !== 100) {
          this.#end({ code: status.code, text: status.description });
        }
      }
    } catch (failure) {
      this.#connection?.deny(failure as Error);
    }
  }

  #take(msg: Msg): void {
    this.#heard = true;
    this.#open--;
    try {
      this.#put(readMessage(msg));
    } catch (err) {
      if (err instanceof InvalidMessageError) {
        this.#answer([msg.reply ?? ""], "+TERM"); // it would be just as invalid the next time
        if (this.decoder.tolerate(msg.subject, err)) {
          this.mailbox.put(err);
        }
      } else if (err instanceof SpecMismatchError) {
        this.#refused = [...this.#refused, msg.reply ?? ""].slice(-MAX_REFUSED);
        this.mailbox.put(err);
      } else {
        throw err;
      }
    }
    if (this.#open <= 0) {
      this.#end({ code: 0, text: "" });
    }
  }

  #put(msg: Message): void {
    const decoded = this.decoder.decode(msg);
    const givenUp = this.decoder.joiner.takeGivenUp();
    this.#answer(givenUp.map(({ reply }) => reply), "+TERM");
    if (decoded === undefined) {
      return;
    }
    if (decoded.item instanceof Gap && this.#options.gaps !== true) {
      this.#answer(decoded.item._inboxes, "+ACK");
    } else {
      this.mailbox.put(decoded.item, cost(msg));
    }
  }

  #answer(inboxes: readonly string[], text: string): void {
    for (const inbox of inboxes) {
      this.#connection?.send(inbox, text);
    }
  }
}

function advice(text: string): string {
  if (text.includes("consumer deleted")) {
    return ": a reader that starts now makes it again, and begins with what the stream holds";
  }
  if (text.includes("maxrequestbatch")) {
    return ": pass a smaller batch";
  }
  if (text.includes("maxbytes")) {
    return ": pass smaller batchBytes";
  }
  return text.includes("push based") ? ": choose another name as durable" : "";
}

import type { NatsConnection } from "@nats-io/nats-core";
import { dialOnce, isRefusal, isTLS, refusal, textOf, untrusted } from "./dial.js";
import { ClosedError, CvfeederError } from "./errors.js";
import type { Gap } from "./gap.js";
import type { Mailbox } from "./mailbox.js";
import { isWebSocket, withoutPassword, type ConnectOptions } from "./options.js";
import { tellSilence } from "./silence.js";
import type { Tensor } from "./tensor.js";
import { aborted, pause, timing, within } from "./timing.js";

const KEPT = 10_000; // acknowledgements that wait for NATS to be back
// What makes errors better, and is not needed.
const OPTIONAL = /cvf\.svc\.|\$js\.api\.(stream\.info|consumer\.list)\./i;

/** What a reader gets: an error among them is thrown to it, and the next read goes on. */
export type Item = Tensor | Gap | CvfeederError;

/** What is read through a connection: it fills the mailbox. */
export interface Source {
  readonly subjects: readonly string[];
  readonly mailbox: Mailbox<Item>;
  /** Whether somebody waits for a first message. */
  readonly silent: boolean;
  /**
   * Reads until the signal; called for each new connection. It calls ready once everything
   * that comes from then on is read. A CvfeederError is the end of the reader; after another
   * error there will be another try.
   */
  run(nc: NatsConnection, connection: Connection, signal: AbortSignal): Promise<void>;
  /** Gives back what was not read. */
  giveBack(nc: NatsConnection): Promise<void>;
}

/** A connection that is made again for as long as it is open, and the source that uses it. */
export class Connection {
  /** Resolves when everything has ended. */
  readonly done: Promise<void>;
  /** Resolves when the source reads; rejects with what is in the way. */
  readonly opened: Promise<void>;
  readonly log: (text: string) => void;
  readonly #source: Source;
  readonly #urls: readonly string[];
  readonly #options: ConnectOptions;
  readonly #stop = new AbortController();
  readonly #stopped = aborted(this.#stop.signal);
  readonly #said = new Set<string>(); // errors that the log has since the last connection
  #discovered: string[] = []; // other servers of the cluster
  #nc: NatsConnection | undefined; // while it is connected
  #ready = false; // whether the source has been reading at some time
  #reading = false; // whether it does
  #setReady: () => void = () => undefined;
  #deny: (err: Error) => void = () => undefined;
  #lastError: unknown;
  #wasConnected = performance.now();
  #optional = ""; // a subject that may be denied
  #unsent: [subject: string, text: string][] = [];

  constructor(source: Source, urls: readonly string[], options: ConnectOptions) {
    this.#source = source;
    this.#urls = urls;
    this.#options = options;
    this.log = options.log ?? ((text) => console.warn(`cvfeeder: ${text}`));
    let failed: (err: Error) => void = () => undefined;
    this.opened = new Promise((resolve, reject) => {
      this.#setReady = resolve;
      failed = reject;
    });
    this.opened.catch(() => undefined); // whoever waits sees it
    this.done = this.#keepConnected().then(
      () => new ClosedError("the reader was closed"),
      (err: unknown) => (err instanceof CvfeederError ? err : new CvfeederError(`the connection has failed: ${textOf(err)}`)),
    ).then((err) => {
      this.#stop.abort();
      source.mailbox.fail(err);
      failed(err);
    });
  }

  /** Why there is no connection, "" if there is one. */
  get trouble(): string {
    return this.#nc === undefined ? `NATS at ${withoutPassword(this.#urls)} is not connected: ${this.#why()}` : "";
  }

  /** How subjects for answers begin. */
  get inboxPrefix(): string {
    return this.#options.inboxPrefix ?? "_INBOX";
  }

  /** Milliseconds that something may take at first. */
  get patience(): number {
    return this.#options.connectTimeout ?? 30_000;
  }

  /** Whether the source has been reading at some time. */
  get ready(): boolean {
    return this.#ready;
  }

  /**
   * Says that the source reads. What waited is sent now: a server that has just started loses
   * acknowledgements until it has the consumer again.
   */
  setReady(): void {
    this.#ready = this.#reading = true;
    this.#setReady();
    this.#sendUnsent();
  }

  /** Says that a subject may be denied, since it only makes errors better. */
  setOptional(subject: string): void {
    this.#optional = subject;
  }

  /** Ends the reader with an error. */
  deny(err: Error): void {
    this.#deny(err);
  }

  /** Closes, and gives back what was not read; it takes seconds at most. */
  async close(): Promise<void> {
    this.#source.mailbox.fail(new ClosedError("the reader was closed"));
    this.#stop.abort();
    await this.done;
  }

  /** Whether it was closed, or has failed. */
  get closed(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Publishes a text, when NATS is back if it is away. */
  send(subject: string, text: string): void {
    this.#unsent.push([subject, text]);
    this.#unsent.splice(0, Math.max(0, this.#unsent.length - KEPT));
    if (this.#reading) {
      this.#sendUnsent();
    }
  }

  #sendUnsent(): void {
    const nc = this.#nc;
    if (nc === undefined || nc.isClosed()) {
      return;
    }
    for (const [subject, text] of this.#unsent.splice(0)) {
      nc.publish(subject, text);
    }
  }

  async #keepConnected(): Promise<void> {
    const began = performance.now();
    const { patience } = this;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#connectOnce(signal);
      } catch (err) {
        if (err instanceof CvfeederError) {
          throw err;
        }
        this.#judge(err);
      }
      if (!this.#ready && !signal.aborted && performance.now() - began >= patience) {
        throw new CvfeederError(
          `NATS at ${withoutPassword(this.#urls)} cannot be reached within ${patience / 1000} s:` +
            ` ${this.#why()}: start it, for example with \`cvfeeder demo\`, or pass the right servers`,
        );
      }
      await pause(timing.retry, signal);
    }
  }

  /** Connects, and reads until the connection is lost, which is an error. */
  async #connectOnce(stop: AbortSignal): Promise<void> {
    const dialling = dialOnce([...this.#urls, ...this.#discovered], this.#options);
    const nc = await Promise.race([dialling, this.#stopped]);
    if (nc === undefined) {
      dialling.then((late) => late.close()).catch(() => undefined);
      return;
    }
    this.#discover(nc);
    this.#nc = nc;
    this.#lastError = undefined;
    this.#said.clear();
    const session = new AbortController();
    const lost = nc.closed().then((err) => {
      throw err instanceof Error ? err : new Error("the connection was lost");
    });
    try {
      const denied = this.#watch(nc);
      void tellSilence(nc, this, this.#source, session.signal);
      await Promise.race([lost, denied, this.#source.run(nc, this, session.signal), this.#stopped]);
    } finally {
      session.abort();
      this.#reading = false;
      if (stop.aborted && !nc.isClosed()) {
        await within(timing.close - 1000, this.#finish(nc)).catch(() => undefined);
      }
      this.#nc = undefined;
      this.#wasConnected = performance.now();
      await within(1000, nc.close()).catch(() => undefined);
    }
  }

  async #finish(nc: NatsConnection): Promise<void> {
    await this.#source.giveBack(nc);
    this.#sendUnsent();
    await nc.flush();
  }

  /** Notes the other servers of the cluster. */
  #discover(nc: NatsConnection): void {
    const first = this.#urls[0] ?? "";
    const info = nc.info as { connect_urls?: string[]; ws_connect_urls?: string[] } | undefined;
    const others = isWebSocket(first) ? info?.ws_connect_urls : info?.connect_urls;
    const known = this.#urls.map((url) => url.replace(/^.*[/@]/, ""));
    const scheme = first.replace(/:.*/, "");
    this.#discovered = (others ?? []).filter((one) => !known.includes(one)).map((one) => `${scheme}://${one}`);
  }

  /** Rejects if the server denies what is needed. */
  #watch(nc: NatsConnection): Promise<never> {
    return new Promise((_, reject) => {
      this.#deny = reject;
      void (async () => {
        for await (const status of nc.status()) {
          if (status.type === "error") {
            this.#onError(status.error);
          }
        }
      })().catch(reject);
    });
  }

  #onError(err: Error): void {
    if (err.name !== "PermissionViolationError") {
      this.#note(err);
    } else if (!OPTIONAL.test(err.message) && (err as { subject?: string }).subject !== this.#optional) {
      this.#deny(
        new CvfeederError(
          `NATS at ${withoutPassword(this.#urls)} denies what this needs: ${err.message}: grant it to` +
            " the user (docs/consumers.md lists what readers need), or read another subject",
        ),
      );
    }
  }

  /** Notes an error in connecting; throws it if it will not pass by waiting. */
  #judge(err: unknown): void {
    this.#note(err);
    const away = performance.now() - this.#wasConnected;
    if (isRefusal(err) && (!this.#ready || away > timing.refused)) {
      throw refusal(this.#urls, err);
    }
    if (isTLS(err) && !this.#ready) {
      throw untrusted(this.#urls, err);
    }
  }

  /** Keeps and logs an error, but not the same again for each attempt. */
  #note(err: unknown): void {
    this.#lastError = err;
    const text = textOf(err);
    if (!this.#said.has(text) && this.#said.size < 100) {
      this.#said.add(text);
      this.log(`NATS at ${withoutPassword(this.#urls)}: ${text}`);
    }
  }

  #why(): string {
    return this.#lastError === undefined ? "no answer" : textOf(this.#lastError);
  }
}

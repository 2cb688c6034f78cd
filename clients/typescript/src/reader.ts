import { Connection, type Source } from "./connection.js";
import type { Decoder } from "./decoder.js";
import { ClosedError, CvfeederError, ReadTimeoutError } from "./errors.js";
import type { ConnectOptions } from "./options.js";

/** Bounds a read. */
export interface Wait {
  /** Milliseconds, after which it is a ReadTimeoutError; without, it waits until the reader ends. */
  timeout?: number;
  /** Ends the wait with the signal's reason; nothing is lost. */
  signal?: AbortSignal;
}

/** A source and what decodes its messages. @internal */
export type DecodingSource = Source & { readonly decoder: Decoder };

/**
 * An endless source of tensors or gaps: `for await (const t of reader)`, or `open`, `read` and
 * `close`.
 *
 * A loop opens what is not open, and closes what it has opened when it is left. Whatever ends
 * the reader is thrown to all who wait for it; a loop ends if the reader is closed.
 */
export abstract class Reader<T> implements AsyncIterable<T>, AsyncDisposable {
  readonly #urls: readonly string[];
  readonly #options: ConnectOptions;
  #connection: Connection | undefined;
  #closed = false;
  /** @internal */
  protected source: DecodingSource;

  /** @internal */
  protected constructor(urls: readonly string[], options: ConnectOptions, source: DecodingSource) {
    this.#urls = urls;
    this.#options = options;
    this.source = source;
  }

  /** How many tensors were dropped because some of their parts did not arrive. */
  get incomplete(): number {
    return this.source.decoder.joiner.incomplete;
  }

  /** How many messages were not what cvfeeder would publish. */
  get invalid(): number {
    return this.source.decoder.invalid;
  }

  /** Connects and subscribes; everything published from here on is received. */
  async open(): Promise<this> {
    if (this.#connection !== undefined) {
      throw new CvfeederError("this is open already: read from it, or close it first");
    }
    const connection = this.#connect();
    try {
      await connection.opened;
    } catch (err) {
      await this.#release(connection);
      throw err;
    }
    return this;
  }

  /** Waits for the next tensor or gap; opens the reader if it is not open. */
  async read(wait: Wait = {}): Promise<T> {
    if (this.#connection === undefined && this.#closed) {
      throw new ClosedError("the reader was closed: open it again, or make another one");
    }
    return await this.#take(this.#connection ?? this.#connect(), wait);
  }

  /** Closes, and gives back what was not read. Tensors that were delivered stay valid. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#release(this.#connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const own = this.#connection === undefined;
    const connection = this.#connection ?? this.#connect();
    try {
      while (true) {
        yield await this.#take(connection, {});
      }
    } catch (err) {
      if (!(err instanceof ClosedError)) {
        throw err;
      }
    } finally {
      if (own) {
        await this.#release(connection);
      }
    }
  }

  /** Returns a source for a new connection. @internal */
  protected abstract newSource(): DecodingSource;

  #connect(): Connection {
    this.source = this.newSource();
    this.#closed = false;
    this.#connection = new Connection(this.source, this.#urls, this.#options);
    return this.#connection;
  }

  async #release(connection: Connection | undefined): Promise<void> {
    if (this.#connection === connection) {
      this.#connection = undefined;
    }
    await connection?.close();
  }

  async #take(connection: Connection, { timeout, signal }: Wait): Promise<T> {
    const limit = new AbortController();
    const end = (): void => limit.abort(signal?.reason);
    signal?.addEventListener("abort", end, { once: true });
    if (signal?.aborted === true) {
      end();
    }
    const timer = timeout === undefined || timeout === Infinity
      ? undefined
      : setTimeout(() => limit.abort(this.#timeout(connection, timeout)), timeout);
    try {
      const item = await this.source.mailbox.take(limit.signal);
      if (item instanceof CvfeederError) {
        throw item;
      }
      return item as T;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    }
  }

  #timeout(connection: Connection, timeout: number): ReadTimeoutError {
    const trouble = connection.trouble === "" ? "" : `; ${connection.trouble}`;
    return new ReadTimeoutError(`nothing on ${this.source.subjects.join(", ")} within ${timeout / 1000} s${trouble}`);
  }
}

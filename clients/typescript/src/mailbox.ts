const OVERHEAD = 4 << 10; // bytes that each item counts in addition to its payload

interface Waiter<T> {
  resolve(item: T): void;
  reject(err: Error): void;
}

/**
 * The queue between a connection and whoever reads, bounded in bytes.
 *
 * When it is full, the oldest items are dropped. An item with the same key as a waiting one
 * replaces it, and keeps its place in the queue. Every wait for it ends with an item or with
 * the error that ended it.
 */
export class Mailbox<T> {
  /** How many items were dropped. */
  skipped = 0;
  readonly #limit: number;
  readonly #onWait: () => void;
  readonly #items = new Map<unknown, { item: T; size: number }>();
  #waiters: Waiter<T>[] = [];
  #bytes = 0;
  #error: Error | undefined;

  /** Holds at most limit bytes, and always one item; onWait is called if it is found empty. */
  constructor(limit: number, onWait: () => void = () => undefined) {
    this.#limit = limit;
    this.#onWait = onWait;
  }

  /** Whether somebody waits for an item. */
  get hungry(): boolean {
    return this.#waiters.length > 0;
  }

  /** Adds an item of size bytes. Without a key it replaces no other. */
  put(item: T, size = 0, key: unknown = Symbol()): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve(item);
      return;
    }
    const before = this.#items.get(key);
    if (before !== undefined) {
      this.#bytes -= before.size;
      this.skipped++;
    }
    this.#items.set(key, { item, size: size + OVERHEAD });
    this.#bytes += size + OVERHEAD;
    for (const [oldest, { size: freed }] of this.#items) {
      if (this.#bytes <= this.#limit || this.#items.size === 1) {
        return;
      }
      this.#items.delete(oldest);
      this.#bytes -= freed;
      this.skipped++;
    }
  }

  /** Makes all waits end with an error, once there is no item left. */
  fail(error: Error): void {
    this.#error ??= error;
    for (const waiter of this.#waiters.splice(0)) {
      waiter.reject(this.#error);
    }
  }

  /** Removes and returns all items. */
  clear(): T[] {
    const items = [...this.#items.values()].map(({ item }) => item);
    this.#items.clear();
    this.#bytes = 0;
    return items;
  }

  /** Returns the oldest item, once there is one. Nothing is lost if the signal ends the wait. */
  async take(signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    for (const [key, { item, size }] of this.#items) {
      this.#items.delete(key);
      this.#bytes -= size;
      return item;
    }
    if (this.#error !== undefined) {
      throw this.#error;
    }
    return await this.#wait(signal);
  }

  #wait(signal: AbortSignal | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.#waiters = this.#waiters.filter((one) => one !== waiter);
        reject(signal?.reason as Error);
      };
      const end = (): void => signal?.removeEventListener("abort", stop);
      const waiter: Waiter<T> = {
        resolve: (item) => (end(), resolve(item)),
        reject: (err) => (end(), reject(err)),
      };
      signal?.addEventListener("abort", stop, { once: true });
      this.#waiters.push(waiter);
      this.#onWait();
    });
  }
}

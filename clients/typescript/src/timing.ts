/** Milliseconds; tests make them shorter. @internal */
export const timing = {
  attempt: 5000, // each step of an attempt to connect
  retry: 500, // between attempts
  ping: 5000, // a server that does not answer two of them is given up
  refused: 30_000, // that credentials which worked before may be refused
  close: 3000, // for giving back what was not read, and for closing
  quiet: 5000, // without a message after which the log says what there is
  answers: 1000, // that cvfeeders have to say what there is
  expires: 10_000, // that a request to JetStream waits for messages
  heartbeat: 2000, // between the server's heartbeats meanwhile
};

/** Waits; a signal ends it early. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end, { once: true });
    if (signal?.aborted === true) {
      end();
    }
  });
}

/** Returns what a promise does, undefined if it takes longer. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  const done = new AbortController();
  try {
    return await Promise.race([promise, pause(milliseconds, done.signal).then(() => undefined)]);
  } finally {
    done.abort();
  }
}

/** Waits until a signal is given. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { dialOnce, isRefusal, isTLS, refusal, textOf, untrusted } from "./dial.js";
import { parse } from "./decoder.js";
import { ClosedError, CvfeederError, FrameError, InvalidMessageError, ReadTimeoutError } from "./errors.js";
import { readMessage } from "./message.js";
import { checkOptions, serversOf, withoutPassword, type ConnectOptions } from "./options.js";
import { Tensor } from "./tensor.js";
import { pause, timing, within } from "./timing.js";

/** Which frame is asked for. */
export interface FrameRequest {
  /** The camera. */
  readonly stream: string;
  /** It is rounded down to a slot of the camera. */
  readonly time: Date | string;
  /** The output of cvfeeder's config. */
  readonly output: string;
}

/**
 * Asks a running cvfeeder for frames (`cvf.svc.frame`). Each costs two images, once a minute.
 *
 *     const frames = new Frames();
 *     const t = await frames.get({ stream: "cam-1", time: "2026-01-02T03:04:05Z", output: "detector" });
 *     await frames.close();
 */
export class Frames implements AsyncDisposable {
  readonly #urls: readonly string[];
  readonly #options: ConnectOptions;
  #nc: Promise<NatsConnection> | undefined;
  #closed = false;

  constructor(options: ConnectOptions = {}) {
    checkOptions("Frames", options, "");
    this.#urls = serversOf("Frames", options.servers);
    this.#options = options;
  }

  /**
   * Returns the tensor of a frame, within timeout milliseconds, 20,000 by default.
   *
   * Throws FrameError with the code of the refusal, ReadTimeoutError, or the CvfeederError in
   * the way.
   */
  async get(request: FrameRequest, { timeout = 20_000 }: { timeout?: number } = {}): Promise<Tensor> {
    const { stream, output } = request;
    const time = request.time instanceof Date ? request.time.toISOString() : request.time;
    const deadline = performance.now() + timeout;
    const nc = await this.#connect(deadline, timeout);
    const left = Math.max(1, deadline - performance.now());
    let msg: Msg;
    try {
      msg = await nc.request("cvf.svc.frame", JSON.stringify({ stream, time, output }), { timeout: left });
    } catch (err) {
      throw this.#problem(err, timeout);
    }
    return this.#tensor(msg);
  }

  /** Closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    const nc = this.#nc;
    await within(timing.close, Promise.resolve(nc?.then((open) => open.close())).catch(() => undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #tensor(msg: Msg): Tensor {
    const { subject, headers, data } = readMessage(msg);
    const problem = headers["Nats-Service-Error"];
    if (problem !== undefined) {
      throw new FrameError(problem.slice(0, 1024), Number(headers["Nats-Service-Error-Code"] ?? 0));
    }
    const item = parse(subject, headers, data);
    if (!(item instanceof Tensor)) {
      throw new InvalidMessageError("the answer to a request for a frame is a gap");
    }
    return item;
  }

  async #connect(deadline: number, timeout: number): Promise<NatsConnection> {
    let problem: unknown = "no answer";
    for (;;) {
      if (this.#closed) {
        throw new ClosedError("Frames was closed: make another one");
      }
      this.#nc ??= dialOnce(this.#urls, this.#options);
      try {
        const nc = await within(deadline - performance.now(), this.#nc);
        if (nc !== undefined && !nc.isClosed()) {
          return nc;
        }
      } catch (err) {
        if (err instanceof CvfeederError || isRefusal(err) || isTLS(err)) {
          this.#nc = undefined;
          throw this.#problem(err, timeout);
        }
        problem = err;
      }
      if (performance.now() + timing.retry >= deadline) {
        const where = withoutPassword(this.#urls);
        throw new ReadTimeoutError(`NATS at ${where} cannot be reached within ${timeout / 1000} s: ${textOf(problem)}`);
      }
      this.#nc = undefined;
      await pause(timing.retry);
    }
  }

  #problem(err: unknown, timeout: number): CvfeederError {
    const text = textOf(err);
    const where = withoutPassword(this.#urls);
    if (err instanceof CvfeederError) {
      return err;
    }
    if (/no ?responders/i.test(text)) {
      return new CvfeederError(
        `no cvfeeder answers on cvf.svc.frame at ${where}: start one there, and look whether its log says` +
          " that its user lacks the permission to serve",
      );
    }
    if (/permissions violation/i.test(text)) {
      return new CvfeederError(
        `NATS at ${where} denies what this needs: ${text}: grant the user to publish cvf.svc.frame and to` +
          " subscribe to _INBOX.>",
      );
    }
    if (isRefusal(err)) {
      return refusal(this.#urls, err);
    }
    if (isTLS(err)) {
      return untrusted(this.#urls, err);
    }
    if (/timeout/i.test(text)) {
      return new ReadTimeoutError(`no answer on cvf.svc.frame within ${timeout / 1000} s`);
    }
    return new CvfeederError(this.#closed ? "Frames was closed" : `asking for a frame: ${text}`);
  }
}

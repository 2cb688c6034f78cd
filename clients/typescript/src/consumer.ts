import {
  AckPolicy,
  JetStreamApiError,
  jetstreamManager,
  type ConsumerInfo,
  type JetStreamManager,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { textOf } from "./dial.js";
import { CvfeederError } from "./errors.js";
import { overlap } from "./options.js";
import { pause, timing, within } from "./timing.js";

// JetStream's codes.
const NO_CONSUMER = 10014;
const NO_STREAM = 10059;
const OFF = [10039, 10076];
const OVERLAPS = [10099, 10100]; // a second consumer of a subject in a work queue
const MAX_LISTED = 20;

/** A durable consumer: found, made, checked, and explained where it fails. */
export class DurableConsumer {
  constructor(
    readonly stream: string,
    readonly durable: string,
    readonly subjects: readonly string[],
    private readonly log: (text: string) => void,
  ) {}

  get name(): string {
    return `consumer '${this.durable}' of stream '${this.stream}'`;
  }

  /**
   * Finds or makes the consumer. While NATS starts, and its streams come back, it waits, at
   * most for patience; later says that the consumer has been there.
   */
  async find(nc: NatsConnection, patience: number, later: boolean, signal: AbortSignal): Promise<void> {
    const began = performance.now();
    while (!signal.aborted) {
      const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: timing.attempt });
      try {
        this.#check(await this.#infoOf(jsm));
        return;
      } catch (err) {
        if (err instanceof CvfeederError || signal.aborted || nc.isClosed()) {
          throw err;
        }
        const problem = await this.#explain(jsm, err);
        const waited = performance.now() - began;
        if (!(later || willPass(err)) || waited > patience) {
          throw problem;
        }
        if (waited < timing.retry) {
          this.log(`${problem.message}; waiting for it`);
        }
        await pause(timing.retry, signal);
      }
    }
  }

  async #infoOf(jsm: JetStreamManager): Promise<ConsumerInfo> {
    try {
      return await jsm.consumers.info(this.stream, this.durable);
    } catch (err) {
      if (!isApi(err, NO_CONSUMER)) {
        throw err;
      }
    }
    await this.#checkSubjects(jsm);
    const [first = "", ...others] = this.subjects;
    return await jsm.consumers.add(this.stream, {
      durable_name: this.durable,
      ack_policy: AckPolicy.Explicit,
      ...(others.length === 0 ? { filter_subject: first } : { filter_subjects: [...this.subjects] }),
    });
  }

  /** Checks that the stream has the subjects: JetStream takes others, and sends nothing. */
  async #checkSubjects(jsm: JetStreamManager): Promise<void> {
    // It is perhaps not allowed to ask for the stream, which reading does not need.
    const info = await within(2000, jsm.streams.info(this.stream)).catch((err: unknown) => {
      if (err instanceof JetStreamApiError) {
        throw err;
      }
      return undefined;
    });
    const there = info?.config.subjects ?? [];
    const missing = this.subjects.find((subject) => !there.some((one) => overlap(subject, one)));
    if (there.length > 0 && missing !== undefined) {
      throw new CvfeederError(`the stream '${this.stream}' has nothing on ${missing}: it has ${there.join(", ")}`);
    }
  }

  /** Checks that a consumer that is there already can be used. */
  #check({ config }: ConsumerInfo): void {
    const there = filtersOf(config);
    const same = [...there].sort().join() === [...this.subjects].sort().join() || this.subjects.join() === ">";
    let wrong = "";
    if (!same) {
      wrong = `for the subject ${there.join(" and ")} and not ${this.subjects.join(" and ")}`;
    } else if (config.deliver_subject) {
      wrong = `as a push consumer, to ${config.deliver_subject}`;
    } else if (config.ack_policy !== AckPolicy.Explicit) {
      wrong = `with the ack policy '${config.ack_policy}' and not 'explicit'`;
    }
    if (wrong !== "") {
      throw new CvfeederError(
        `the consumer '${this.durable}' is there already, ${wrong}: choose another name as durable,` +
          ` or remove it with: nats consumer rm ${this.stream} ${this.durable}`,
      );
    }
  }

  /** Returns an error of JetStream as one that says what to do. */
  async #explain(jsm: JetStreamManager, err: unknown): Promise<CvfeederError> {
    if (isApi(err, NO_STREAM)) {
      return new CvfeederError(
        `there is no JetStream stream '${this.stream}': cvfeeder makes it in the delivery modes ring and` +
          " durable; for the mode live, use subscribe",
      );
    }
    if (isOff(err)) {
      return new CvfeederError(
        "NATS has no JetStream: start it with `nats-server -js`, and cvfeeder in the delivery mode ring or" +
          " durable; for the mode live, use subscribe",
      );
    }
    if (isApi(err, ...OVERLAPS)) {
      return new CvfeederError(
        `${this.name} cannot have ${this.subjects.join(" and ")}: in a work queue each tensor goes to one` +
          ` consumer, and there is another one for them${await this.#others(jsm)}. Use its name as durable to` +
          " share the tensors, or a subject that it does not have, or set delivery.stream.retention: limits" +
          " in cvfeeder's config",
      );
    }
    const text = textOf(err);
    return new CvfeederError(`${this.name}: ${/timeout/i.test(text) ? "JetStream does not answer" : text}`);
  }

  async #others(jsm: JetStreamManager): Promise<string> {
    const found: string[] = [];
    const list = async (): Promise<void> => {
      for await (const { name, config } of jsm.consumers.list(this.stream)) {
        found.push(`${name}: ${filtersOf(config).join(" and ")}`);
        if (found.length >= MAX_LISTED) {
          return;
        }
      }
    };
    await within(2000, list()).catch(() => undefined);
    return found.length === 0 ? "" : ` (${found.join(", ")})`;
  }
}

function filtersOf(config: ConsumerInfo["config"]): readonly string[] {
  return config.filter_subjects ?? [config.filter_subject ?? ">"];
}

/** Whether an error is that of a server which has just started. */
function willPass(err: unknown): boolean {
  if (err instanceof JetStreamApiError) {
    return err.status === 503 && !isOff(err);
  }
  return !isOff(err) && /timeout/i.test(textOf(err));
}

/** Whether an error is JetStream's, with one of some codes. */
function isApi(err: unknown, ...codes: readonly number[]): boolean {
  return err instanceof JetStreamApiError && codes.includes(err.code);
}

/** Whether an error says that there is no JetStream; nats.js does not export its class. */
function isOff(err: unknown): boolean {
  return (err instanceof Error && err.name === "JetStreamNotEnabled") || isApi(err, ...OFF);
}

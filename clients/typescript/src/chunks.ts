import { InvalidMessageError } from "./errors.js";
import { Headers, type HeaderRecord } from "./headers.js";
import { cost, type Message } from "./message.js";
import { announcedSize } from "./tensor.js";

const MAX_PARTS = 1 << 16;
const MAX_SUBJECTS = 1 << 14;
const OVERHEAD = 2 << 10; // bytes for each tensor that is begun

/** A whole message, as it was before it was split, and the messages that carried it. */
export interface Whole {
  readonly headers: HeaderRecord;
  readonly data: Uint8Array;
  readonly messages: readonly Message[];
}

/** The parts of one tensor that have arrived, by their number from 1. */
interface Assembly {
  readonly subject: string;
  readonly headers: HeaderRecord; // of the whole tensor
  readonly identity: string;
  readonly total: number;
  readonly size: number; // announced, bytes
  readonly begun: number; // how often something else had arrived on the subject by then
  readonly parts: Map<number, Message>;
  have: number; // bytes of payload
  kept: number; // bytes in all
  done: boolean;
}

/** A subject of which tensors are kept. */
interface Subject {
  kept: number; // tensors
  passes: number; // how often something arrived that is not of the newest of them
}

/**
 * Joins the parts of tensors (`delivery.oversize: chunk`).
 *
 * On a plain subscription, any other message on the subject means that the missing parts of a
 * tensor will not come. JetStream delivers parts again that were not acknowledged in time,
 * between others. There, a tensor is given up when later ones have arrived and then its own
 * parts again: by then, every part that exists would have arrived. What is kept is bounded,
 * whatever the sender says.
 */
export class Joiner {
  /** How many tensors were dropped because some of their parts did not arrive. */
  incomplete = 0;
  readonly #limit: number;
  readonly #repeats: boolean;
  #bytes = 0;
  #givenUp: Message[] = [];
  // By subject and, with repeats, by tensor; in the order in which they were begun.
  readonly #assemblies = new Map<string, Assembly>();
  readonly #subjects = new Map<string, Subject>();

  /**
   * Keeps at most limit bytes of parts. With repeats the messages are JetStream's, and a
   * complete tensor may come a second time. Without, parts that come again are ignored.
   */
  constructor(limit: number, repeats: boolean) {
    this.#limit = limit;
    this.#repeats = repeats;
  }

  /** Returns the whole message that msg is or completes, undefined while parts are missing. */
  add(msg: Message): Whole | undefined {
    let key = msg.subject;
    if (!("Cvf-Chunk" in msg.headers)) {
      this.#pass(key);
      return { headers: msg.headers, data: msg.data, messages: [msg] };
    }
    try {
      const part = readPart(msg.headers);
      if (this.#repeats) {
        key = `${msg.subject} ${part.identity}`;
      }
      const assembly = this.#find(key, msg, part);
      if (assembly.done || assembly.parts.has(part.number)) {
        this.#repeated(key, assembly);
        return undefined;
      }
      if (assembly.have + msg.data.length > assembly.size || assembly.size > this.#limit) {
        throw new InvalidMessageError(
          `header Cvf-Chunk: more bytes than the ${assembly.size} announced, or than the` +
            ` ${this.#limit} that are kept`,
        );
      }
      return this.#keep(key, assembly, part.number, msg);
    } catch (err) {
      this.#drop(key);
      throw err;
    }
  }

  /** Takes the parts of tensors that will never be complete. */
  takeGivenUp(): Message[] {
    const taken = this.#givenUp;
    this.#givenUp = [];
    return taken;
  }

  /** The parts of tensors that are not complete yet. */
  unfinished(): Message[] {
    return [...this.#assemblies.values()].flatMap((assembly) => [...assembly.parts.values()]);
  }

  #find(key: string, msg: Message, part: Part): Assembly {
    const found = this.#assemblies.get(key);
    if (found?.identity === part.identity) {
      return found;
    }
    this.#pass(key, msg.subject);
    return {
      subject: msg.subject,
      headers: part.headers,
      identity: part.identity,
      total: part.total,
      size: announcedSize(msg.headers),
      begun: this.#subjects.get(msg.subject)?.passes ?? 0,
      parts: new Map(),
      have: 0,
      kept: 0,
      done: false,
    };
  }

  #repeated(key: string, assembly: Assembly): void {
    if ((this.#subjects.get(assembly.subject)?.passes ?? 0) > assembly.begun) {
      this.#givenUp.push(...assembly.parts.values());
      this.#drop(key);
    }
  }

  #keep(key: string, assembly: Assembly, number: number, msg: Message): Whole | undefined {
    if (this.#assemblies.get(key) !== assembly) {
      this.#begin(key, assembly);
    }
    assembly.parts.set(number, msg);
    assembly.have += msg.data.length;
    this.#charge(assembly, cost(msg));
    if (assembly.parts.size === assembly.total) {
      return this.#complete(key, assembly);
    }
    this.#shrink();
    return undefined;
  }

  /** Notes that something else has arrived on a subject. */
  #pass(key: string, subject = key): void {
    if (!this.#repeats) {
      this.#drop(key);
      return;
    }
    const kept = this.#subjects.get(subject);
    if (kept !== undefined) {
      kept.passes++;
    }
  }

  #begin(key: string, assembly: Assembly): void {
    const subject = this.#subjects.get(assembly.subject) ?? { kept: 0, passes: 0 };
    subject.kept++;
    this.#subjects.set(assembly.subject, subject);
    this.#assemblies.set(key, assembly);
    this.#charge(assembly, OVERHEAD + 4 * assembly.identity.length);
  }

  #charge(assembly: Assembly, bytes: number): void {
    assembly.kept += bytes;
    this.#bytes += bytes;
  }

  #end(key: string): Assembly | undefined {
    const assembly = this.#assemblies.get(key);
    if (assembly === undefined) {
      return undefined;
    }
    this.#assemblies.delete(key);
    this.#bytes -= assembly.kept;
    const subject = this.#subjects.get(assembly.subject);
    if (subject !== undefined && --subject.kept === 0) {
      this.#subjects.delete(assembly.subject);
    }
    return assembly;
  }

  #complete(key: string, assembly: Assembly): Whole {
    const messages = [...assembly.parts].sort(([a], [b]) => a - b).map(([, msg]) => msg);
    const { headers } = assembly;
    this.#end(key);
    if (!this.#repeats) {
      // What comes of it again is ignored, until there is something else.
      this.#begin(key, { ...assembly, headers: {}, parts: new Map(), have: 0, kept: 0, done: true });
    }
    return { headers, data: join(messages), messages };
  }

  #drop(key: string): void {
    const assembly = this.#end(key);
    if (assembly !== undefined && !assembly.done) {
      this.incomplete++;
    }
  }

  /** Drops the tensors that were begun first while too much is kept. */
  #shrink(): void {
    for (const key of this.#assemblies.keys()) {
      if (this.#bytes <= this.#limit && this.#assemblies.size <= MAX_SUBJECTS) {
        return;
      }
      this.#drop(key);
    }
  }
}

interface Part {
  readonly number: number;
  readonly total: number;
  readonly headers: HeaderRecord; // of the whole
  readonly identity: string;
}

function readPart(headers: HeaderRecord): Part {
  const [number = 0, total = 0] = new Headers(headers).counts("Cvf-Chunk", "/", 2, MAX_PARTS);
  if (number > total || total === 1) {
    throw new InvalidMessageError(`header Cvf-Chunk: part ${number} of ${total}`);
  }
  const whole = Object.assign(Object.create(null) as Record<string, string>, headers);
  delete whole["Cvf-Chunk"];
  const id = whole["Nats-Msg-Id"];
  const suffix = `/${number}/${total}`;
  if (id?.endsWith(suffix) === true) {
    whole["Nats-Msg-Id"] = id.slice(0, -suffix.length);
  }
  // The trace and the quality do not belong to it, since they differ between attempts, nor do the
  // headers that JetStream adds to each message.
  const ours = Object.entries(whole).filter(
    ([name]) => (/^(Cvf|Content)-/.test(name) && name !== "Cvf-Quality") || name === "Nats-Msg-Id",
  );
  return { number, total, headers: whole, identity: JSON.stringify([total, ours.sort()]) };
}

function join(messages: readonly Message[]): Uint8Array {
  const data = new Uint8Array(messages.reduce((bytes, msg) => bytes + msg.data.length, 0));
  let at = 0;
  for (const msg of messages) {
    data.set(msg.data, at);
    at += msg.data.length;
  }
  return data;
}

import type { Msg, MsgHdrs } from "@nats-io/nats-core";
import { InvalidMessageError } from "./errors.js";
import type { HeaderRecord } from "./headers.js";

const OVERHEAD = 2 << 10; // bytes that each message takes besides its payload and its headers
const HEADER_OVERHEAD = 256; // bytes that each header takes besides its text

/** A message, taken out of what nats.js received. */
export interface Message {
  readonly subject: string;
  readonly reply: string;
  readonly headers: HeaderRecord;
  readonly data: Uint8Array;
}

/** Takes a message; throws InvalidMessageError if nats.js cannot read its headers. */
export function readMessage(msg: Msg): Message {
  return { subject: msg.subject, reply: msg.reply ?? "", headers: readHeaders(msg), data: own(msg.data) };
}

function readHeaders(msg: Msg): HeaderRecord {
  let headers: MsgHdrs | undefined;
  try {
    headers = msg.headers;
  } catch (err) {
    throw new InvalidMessageError(`the headers cannot be read: ${String(err).slice(0, 100)}`);
  }
  // Without a prototype, so that no header is taken for one of its properties.
  const record = Object.create(null) as Record<string, string>;
  for (const [name, values] of headers ?? []) {
    record[name] = values[0] ?? "";
  }
  return record;
}

/**
 * Copies data that would keep a much larger buffer in memory. In Node it is a Buffer, whose
 * slice does not copy, so it becomes a plain array in any case.
 */
function own(data: Uint8Array): Uint8Array {
  const { buffer, byteOffset, byteLength } = data;
  return byteLength * 2 < buffer.byteLength ? new Uint8Array(data) : new Uint8Array(buffer, byteOffset, byteLength);
}

/** How many bytes a message takes: all of it counts, as its sender chooses it. */
export function cost(msg: Message): number {
  let bytes = OVERHEAD + msg.subject.length + msg.data.length;
  for (const [name, value] of Object.entries(msg.headers)) {
    bytes += HEADER_OVERHEAD + 2 * (name.length + value.length);
  }
  return bytes;
}

import { Delivered } from "./delivered.js";
import { InvalidMessageError } from "./errors.js";
import { MAX_BYTES, MAX_TEXT, Headers, parseTime, type HeaderRecord } from "./headers.js";

const MAX_EVENT = 64 << 10; // bytes; a real event has about 200

/** What a gap says. */
export interface GapFields {
  /** The camera. */
  readonly stream: string;
  /** The output whose subject it came on; "" for an event, which is about all outputs. */
  readonly output: string;
  /** The first slot of the run. */
  readonly start: Date;
  /** The last slot of the run, which is part of it. */
  readonly end: Date;
  /** How many slots the run has, at least 1. */
  readonly slots: number;
  /**
   * no_media, media_error, undecodable, stale or dropped; "end" at the end of a replay job's tensors
   * on the subject: then start and end are the first instant after the range, and slots is the number
   * of streams of the job.
   */
  readonly reason: string;
  /** The fingerprint of the preprocessing; "" for an event. */
  readonly spec: string;
}

/** A run of slots of one stream that all ended in the same way, without a tensor. */
export class Gap extends Delivered implements GapFields {
  declare readonly stream: string;
  declare readonly output: string;
  declare readonly start: Date;
  declare readonly end: Date;
  declare readonly slots: number;
  declare readonly reason: string;
  declare readonly spec: string;
  readonly kind = "gap";

  /** @internal */
  constructor(subject: string, fields: GapFields) {
    super(subject);
    Object.assign(this, fields);
    if (this.end < this.start) {
      throw new InvalidMessageError("the gap ends before its start");
    }
  }
}

/** The gap in a message that comes in place of a tensor, on its subject. */
export function parseInlineGap(subject: string, headers: HeaderRecord, data: Uint8Array): Gap {
  if (data.length > 0) {
    throw new InvalidMessageError(`header Cvf-Gap: with a payload of ${data.length} bytes`);
  }
  const h = new Headers(headers);
  return new Gap(subject, {
    stream: h.text("Cvf-Stream"),
    output: h.text("Cvf-Output"),
    start: h.time("Cvf-Time"),
    end: h.time("Cvf-Gap-To"),
    slots: h.count("Cvf-Gap-Slots"),
    reason: h.text("Cvf-Gap"),
    spec: h.text("Cvf-Spec"),
  });
}

/** The end of a replay job's tensors on a subject, as a gap with the reason "end". */
export function parseEnd(subject: string, headers: HeaderRecord, data: Uint8Array): Gap {
  if (data.length > 0) {
    throw new InvalidMessageError(`header Cvf-End: with a payload of ${data.length} bytes`);
  }
  const h = new Headers(headers);
  return new Gap(subject, {
    stream: h.text("Cvf-Stream"),
    output: h.text("Cvf-Output"),
    start: h.time("Cvf-Time"),
    end: h.time("Cvf-Time"),
    slots: h.count("Cvf-End"),
    reason: "end",
    spec: h.text("Cvf-Spec"),
  });
}

/** The gap in an event on cvf.gap.<stream>, which is JSON. */
export function parseGapEvent(subject: string, data: Uint8Array): Gap {
  if (data.length > MAX_EVENT) {
    throw new InvalidMessageError(`gap event: ${data.length} bytes are more than ${MAX_EVENT}`);
  }
  const event = parseObject(data);
  const text = (name: string): string => {
    const value = event[name];
    if (typeof value !== "string" || value === "" || value.length > MAX_TEXT) {
      throw new InvalidMessageError(`gap event: no ${name}`);
    }
    return value;
  };
  const time = (name: string): Date => {
    const value = parseTime(event[name]);
    if (value === undefined) {
      throw new InvalidMessageError(`gap event: ${name} is not a time like 2026-01-02T03:04:05.200Z`);
    }
    return value;
  };
  const slots = event["slots"];
  if (typeof slots !== "number" || !Number.isInteger(slots) || slots < 1 || slots > MAX_BYTES) {
    throw new InvalidMessageError(`gap event: ${String(slots).slice(0, 40)} slots`);
  }
  return new Gap(subject, {
    stream: text("stream"),
    output: "",
    start: time("from"),
    end: time("to"),
    slots,
    reason: text("reason"),
    spec: "",
  });
}

function parseObject(data: Uint8Array): Record<string, unknown> {
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch (err) {
    throw new InvalidMessageError(`gap event: ${String(err).slice(0, 100)}`);
  }
  if (typeof event !== "object" || event === null) {
    throw new InvalidMessageError("gap event: it is no object");
  }
  return event as Record<string, unknown>;
}

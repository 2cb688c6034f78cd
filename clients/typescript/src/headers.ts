import { InvalidMessageError } from "./errors.js";

export const VERSION = "1";
export const MAX_SIDE = 1 << 16; // elements
export const MAX_BYTES = 1 << 30;
export const MAX_TEXT = 1 << 10; // characters

const TIME =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
const COUNT = /^\d{1,11}$/;
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,4})?$/;
const TRACE = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The headers of a message, by name. Names are case-sensitive. */
export type HeaderRecord = Readonly<Record<string, string>>;

/**
 * Reads the headers of one message, which are not trusted until they have been checked.
 *
 * All methods throw InvalidMessageError, with the name of the header and the beginning of the
 * value that is wrong.
 */
export class Headers {
  constructor(private readonly values: HeaderRecord) {
    const version = this.text("Cvf-Version");
    if (version !== VERSION) {
      throw this.wrong("Cvf-Version", version, `not the version ${VERSION} that this package reads`);
    }
  }

  has(name: string): boolean {
    return Object.hasOwn(this.values, name);
  }

  /** A text of 1 to atMost characters. */
  text(name: string, atMost = MAX_TEXT): string {
    const value = this.has(name) ? this.values[name] : undefined;
    if (typeof value !== "string" || value === "") {
      throw new InvalidMessageError(`header ${name}: is missing or empty`);
    }
    if (value.length > atMost) {
      throw this.wrong(name, value, `longer than ${atMost} characters`);
    }
    return value;
  }

  /** A text that is one of the given ones. */
  oneOf<T extends string>(name: string, ...values: readonly T[]): T {
    const value = this.text(name);
    const found = values.find((one) => one === value);
    if (found === undefined) {
      throw this.wrong(name, value, `not one of ${values.join(", ")}`);
    }
    return found;
  }

  /** An instant, from RFC 3339, exact to the millisecond. */
  time(name: string): Date {
    const value = this.text(name);
    const time = parseTime(value);
    if (time === undefined) {
      throw this.wrong(name, value, "not a time like 2026-01-02T03:04:05.200Z");
    }
    return time;
  }

  /** n whole numbers from 1 to atMost. */
  counts(name: string, separator: string, n: number, atMost = MAX_SIDE): number[] {
    return this.countsOf(name, this.text(name), separator, n, atMost);
  }

  /** n whole numbers from 1 to atMost, from a piece of a header's value. */
  countsOf(name: string, value: string, separator: string, n: number, atMost = MAX_SIDE): number[] {
    const parts = value.split(separator);
    if (parts.length !== n || !parts.every((part) => COUNT.test(part))) {
      throw this.wrong(name, value, `not ${n} whole number(s), with '${separator}' between them`);
    }
    const numbers = parts.map(Number);
    if (!numbers.every((number) => number >= 1 && number <= atMost)) {
      throw this.wrong(name, value, `not within 1 to ${atMost}`);
    }
    return numbers;
  }

  /** One whole number from 1 to atMost. */
  count(name: string, atMost = MAX_BYTES): number {
    return this.counts(name, ",", 1, atMost)[0] ?? 0;
  }

  /** n finite numbers. */
  floats(name: string, n: number): number[] {
    return this.floatsOf(name, this.text(name), n);
  }

  /** n finite numbers, from a piece of a header's value. */
  floatsOf(name: string, value: string, n: number): number[] {
    const parts = value.split(",");
    if (parts.length !== n || !parts.every((part) => NUMBER.test(part))) {
      throw this.wrong(name, value, `not ${n} number(s), with ',' between them`);
    }
    const numbers = parts.map(Number);
    if (!numbers.every(Number.isFinite)) {
      throw this.wrong(name, value, "not finite");
    }
    return numbers;
  }

  /** n finite numbers of which none is 0. */
  nonzero(name: string, n: number): number[] {
    const numbers = this.floats(name, n);
    if (numbers.some((number) => number === 0)) {
      throw this.wrong(name, this.text(name), "0, which cannot be a factor");
    }
    return numbers;
  }

  /** The error about a header's value, or a piece of it. */
  wrong(name: string, value: string, problem: string): InvalidMessageError {
    return new InvalidMessageError(`header ${name}: ${JSON.stringify(value.slice(0, 40))} is ${problem}`);
  }
}

/** The W3C trace context, "" if it is missing or malformed: no reason to reject a tensor. */
export function traceparent(headers: HeaderRecord): string {
  const value = Object.hasOwn(headers, "traceparent") ? headers["traceparent"] : "";
  return value !== undefined && TRACE.test(value) ? value : "";
}

/** The instant of an RFC 3339 text, undefined if it is none. */
export function parseTime(text: unknown): Date | undefined {
  const found = typeof text === "string" ? TIME.exec(text) : null;
  if (found === null || typeof text !== "string") {
    return undefined;
  }
  const [, year, month, day] = found.map(Number);
  const time = new Date(text);
  // Date takes 30 February for 2 March.
  const days = new Date(Date.UTC(year ?? 0, month ?? 0, 0)).getUTCDate();
  return Number.isNaN(time.getTime()) || (day ?? 0) > days ? undefined : time;
}

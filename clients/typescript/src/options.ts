import { CvfeederError } from "./errors.js";
import { canDialTCP } from "#transport";

export const URL_DEFAULT = "nats://127.0.0.1:4222";
export const BUFFER = 256 << 20; // bytes

/** How to reach NATS. All of it is optional, but servers in a browser. */
export interface ConnectOptions {
  /**
   * One URL or several: nats:// and tls:// in Node, ws:// and wss:// in browsers, and in Node
   * from version 22 on. nats://127.0.0.1:4222 by default in Node.
   */
  servers?: string | readonly string[];
  /** What the server shows as the connection's name. */
  name?: string;
  user?: string;
  password?: string;
  token?: string;
  /** The text of a .creds file. */
  credentials?: string;
  /** The path of a .creds file, read again for each new connection; in Node only. */
  credentialsFile?: string;
  /** The seed of an nkey. */
  nkeySeed?: string;
  /** PEM texts, or paths of PEM files; in Node only, as browsers have TLS of their own. */
  tls?: {
    ca?: string;
    cert?: string;
    key?: string;
    caFile?: string;
    certFile?: string;
    keyFile?: string;
    /** Start TLS first, as the server's handshake_first demands. */
    handshakeFirst?: boolean;
  };
  /** How subjects for answers begin, "_INBOX" by default. */
  inboxPrefix?: string;
  /**
   * Milliseconds to wait for a server at first, 30,000 by default; Infinity waits for ever.
   * Once connected, a reader connects again for as long as it is open.
   */
  connectTimeout?: number;
  /** Gets what is worth knowing; console.warn by default. */
  log?: (text: string) => void;
}

/** What all readers take. */
export interface ReadOptions extends ConnectOptions {
  /** Whether gaps come in order among the tensors; false by default. */
  gaps?: boolean;
  /** A tensor with another fingerprint than these is a SpecMismatchError. */
  expectSpec?: string | readonly string[];
  /** Whether an invalid message is an error of the reader; otherwise it is counted and logged. */
  strict?: boolean;
}

/** The types of all options, for programs that no compiler checks. */
const TYPES: Readonly<Record<string, string>> = {
  servers: "string or array",
  name: "string",
  user: "string",
  password: "string",
  token: "string",
  credentials: "string",
  credentialsFile: "string",
  nkeySeed: "string",
  tls: "object",
  inboxPrefix: "string",
  connectTimeout: "number",
  log: "function",
  gaps: "boolean",
  expectSpec: "string or array",
  strict: "boolean",
  newest: "boolean",
  queue: "string",
  buffer: "number",
  stream: "string",
  durable: "string",
  batch: "number",
  batchBytes: "number",
  timeout: "number",
};
const CONNECT = "servers name user password token credentials credentialsFile nkeySeed tls inboxPrefix connectTimeout log";
const TOKEN = /^[^\s.*>\x00-\x1f]+$/;
const NAME = /^[^\s.*>/\\\x00-\x1f]+$/; // what JetStream takes

/** Checks the names and types of options; own are those that a function has beside ConnectOptions. */
export function checkOptions(of: string, options: object, own: string): void {
  const known = `${own} ${CONNECT}`.split(" ");
  for (const [name, value] of Object.entries(options)) {
    if (!known.includes(name)) {
      const near = known.find((one) => distance(one, name) <= 2);
      const hint = near === undefined ? `; it has ${known.join(", ")}` : `: did you mean ${near}?`;
      throw new TypeError(`${of}() has no option ${name}${hint}`);
    }
    const wanted = TYPES[name] ?? "";
    const kind = Array.isArray(value) ? "array" : typeof value;
    if (value !== undefined && !wanted.split(" or ").includes(kind)) {
      throw new TypeError(`${of}(): ${name} is a ${kind}, not a ${wanted}`);
    }
    if (kind === "number" && !((value as number) > 0)) {
      throw new RangeError(`${of}(): ${name} is ${String(value)}, but has to be more than 0`);
    }
    if (["stream", "durable", "queue"].includes(name) && !NAME.test(value as string)) {
      throw new TypeError(
        `${of}(): ${name} is '${String(value)}', but it may not be empty or have spaces, dots, slashes, * or >`,
      );
    }
  }
}

/** The subjects that an option names; each message is to be on one of them only. */
export function subjectsOf(of: string, subject: string | readonly string[]): readonly string[] {
  const subjects = typeof subject === "string" ? [subject] : [...subject];
  if (subjects.length === 0) {
    throw new TypeError(`${of}(): no subject is given: cvf.t.> is all tensors`);
  }
  subjects.forEach((one, i) => {
    const tokens = String(one).split(".");
    const good = tokens.every(
      (token, at) => token === "*" || (token === ">" && at === tokens.length - 1) || TOKEN.test(token),
    );
    if (typeof one !== "string" || !good) {
      throw new TypeError(
        `${of}(): '${String(one)}' is no subject: it is words with dots between them, for example` +
          " cvf.t.cam-1.detector, in which * is any word, and > at the end all that follow",
      );
    }
    const other = subjects.slice(0, i).find((before) => overlap(one, before));
    if (other !== undefined) {
      throw new TypeError(`${of}(): ${other} and ${one} overlap: tensors would come twice`);
    }
  });
  return subjects;
}

/** Whether a message can be on both subjects. */
export function overlap(one: string, other: string): boolean {
  const [a, b] = [one.split("."), other.split(".")];
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]];
    if (x === ">" || y === ">") {
      return true;
    }
    if (x !== y && x !== "*" && y !== "*") {
      return false;
    }
  }
  return a.length === b.length;
}

/** The URLs of servers. */
export function serversOf(of: string, servers: ConnectOptions["servers"]): readonly string[] {
  if (servers === undefined && !canDialTCP) {
    throw new TypeError(`${of}(): pass servers, for example "wss://nats.example.com": a browser needs a WebSocket`);
  }
  const given = typeof servers === "string" ? servers.split(",") : (servers ?? [URL_DEFAULT]);
  const urls = given.map((one) => (one.includes("://") ? one.trim() : `nats://${one.trim()}`));
  if (urls.length === 0) {
    throw new TypeError(`${of}(): servers is empty: ${URL_DEFAULT} is the usual one`);
  }
  for (const url of urls) {
    if (!/^(nats|tls|wss?):\/\/[^\s/]+\/?$/.test(url)) {
      throw new TypeError(`${of}(): '${url}' is not a URL like ${URL_DEFAULT}, tls://, ws:// or wss://`);
    }
    if (!canDialTCP && !isWebSocket(url)) {
      throw new TypeError(`${of}(): a browser reaches NATS by ws:// or wss://, not by ${withoutPassword([url])}`);
    }
  }
  if (new Set(urls.map(isWebSocket)).size > 1) {
    throw new TypeError(`${of}(): servers are either all ws:// and wss://, or none`);
  }
  return urls;
}

export function isWebSocket(url: string): boolean {
  return url.startsWith("ws");
}

/** URLs for an error or a log. */
export function withoutPassword(urls: readonly string[]): string {
  return urls.map((url) => url.replace(/\/\/[^/@]*@/, "//")).join(", ");
}

/** Checks a .creds file's text, which nats.js would refuse with less to go by. */
export function checkCredentials(of: string, text: string): string {
  for (const part of ["BEGIN NATS USER JWT", "BEGIN USER NKEY SEED"]) {
    if (!new RegExp(`${part}-+\\s*\\n\\s*\\S`).test(text)) {
      throw new CvfeederError(
        `${of} has no part '${part}': it should be a .creds file, as \`nsc generate creds\` writes`,
      );
    }
  }
  return text;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

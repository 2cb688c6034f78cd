import {
  credsAuthenticator,
  nkeyAuthenticator,
  nkeys,
  type ConnectionOptions,
  type NatsConnection,
} from "@nats-io/nats-core";
import { dial, read } from "#transport";
import { CvfeederError } from "./errors.js";
import { checkCredentials, isWebSocket, withoutPassword, type ConnectOptions } from "./options.js";
import { timing } from "./timing.js";

/** Connects once, to the first server that answers; nats.js does not connect again by itself. */
export async function dialOnce(urls: readonly string[], options: ConnectOptions): Promise<NatsConnection> {
  const webSocket = isWebSocket(urls[0] ?? "");
  const wantsTLS = options.tls !== undefined || urls.some((url) => url.startsWith("tls:"));
  const nats: ConnectionOptions = {
    servers: urls.map((url) => address(url, webSocket)),
    name: options.name ?? "cvfeeder-typescript",
    reconnect: false,
    noRandomize: true,
    noAsyncTraces: true,
    ignoreClusterUpdates: true,
    timeout: timing.attempt,
    pingInterval: timing.ping,
    maxPingOut: 2,
    ...(options.inboxPrefix === undefined ? {} : { inboxPrefix: options.inboxPrefix }),
    ...(wantsTLS ? { tls: options.tls ?? {} } : {}),
    ...(await login(urls, options)),
  };
  try {
    return await dial(nats, webSocket);
  } catch (err) {
    if (!/does not support 'tls'/.test(textOf(err))) {
      throw err;
    }
    throw new CvfeederError(
      `NATS at ${withoutPassword(urls)} does not have TLS, which tls and tls:// ask for: turn it on` +
        " in the server, or use nats:// without tls",
    );
  }
}

/** A URL as nats.js takes it, without a login. */
function address(url: string, webSocket: boolean): string {
  const plain = withoutPassword([url]).replace(/\/$/, "");
  return webSocket ? plain : plain.replace(/^(nats|tls):\/\//, "");
}

async function login(urls: readonly string[], options: ConnectOptions): Promise<ConnectionOptions> {
  const { user, password, token, credentialsFile } = options;
  let { credentials } = options;
  if (credentialsFile !== undefined) {
    credentials = await read("credentialsFile", credentialsFile);
    checkCredentials(`credentialsFile: ${credentialsFile}`, credentials);
  }
  if (credentials !== undefined) {
    checkCredentials("credentials", credentials);
    checkSeed(/BEGIN USER NKEY SEED-+\s*\n\s*(\S+)/.exec(credentials)?.[1] ?? "");
    return { authenticator: credsAuthenticator(new TextEncoder().encode(credentials)) };
  }
  if (options.nkeySeed !== undefined) {
    const seed = checkSeed(options.nkeySeed.trim());
    return { authenticator: nkeyAuthenticator(seed) };
  }
  if (token !== undefined) {
    return { token };
  }
  if (user !== undefined) {
    return password === undefined ? { user } : { user, pass: password };
  }
  return loginOf(urls.find((url) => url.includes("@")) ?? "");
}

/** The login in a URL: user:password, or a token. */
function loginOf(url: string): ConnectionOptions {
  const found = /\/\/([^/@]*)@/.exec(url)?.[1];
  if (found === undefined) {
    return {};
  }
  const [first = "", ...rest] = found.split(":");
  const decoded = decodeURIComponent(first);
  return rest.length > 0 ? { user: decoded, pass: decodeURIComponent(rest.join(":")) } : { token: decoded };
}

function checkSeed(seed: string): Uint8Array {
  const bytes = new TextEncoder().encode(seed);
  try {
    nkeys.fromSeed(bytes);
  } catch (err) {
    throw new CvfeederError(`the seed of the nkey is damaged: ${(err as Error).message}`);
  }
  return bytes;
}

/** Whether an error says that the server does not take the credentials. */
export function isRefusal(err: unknown): boolean {
  return /authorization|authentication/i.test(textOf(err));
}

/** Whether an error is about certificates. */
export function isTLS(err: unknown): boolean {
  return /certificate|self.signed|ERR_TLS|ERR_SSL|SSL routines|altnames/i.test(textOf(err));
}

/** The text of an error, with that of its causes, some of which have no other. */
export function textOf(err: unknown): string {
  const texts = new Set<string>();
  for (let one = err; one instanceof Error && texts.size < 5; one = one.cause) {
    const { code } = one as { code?: unknown };
    texts.add(one.message || (typeof code === "string" ? code : one.name));
  }
  return texts.size > 0 ? [...texts].join(": ") : String(err);
}

/** The error for a server that refuses the credentials. */
export function refusal(urls: readonly string[], err: unknown): CvfeederError {
  return new CvfeederError(
    `NATS at ${withoutPassword(urls)} refuses the connection: ${textOf(err)}: check user and` +
      " password, token, credentials or nkeySeed",
  );
}

/** The error for a certificate that is not trusted. */
export function untrusted(urls: readonly string[], err: unknown): CvfeederError {
  return new CvfeederError(
    `TLS with NATS at ${withoutPassword(urls)} fails: ${textOf(err)}: pass the authority that` +
      " signed the server's certificate, tls: {caFile: …}",
  );
}

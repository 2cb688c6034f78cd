import { readFile } from "node:fs/promises";
import { connect } from "@nats-io/transport-node";
import { wsconnect, type ConnectionOptions, type NatsConnection } from "@nats-io/nats-core";
import { CvfeederError } from "./errors.js";

/** Connects to NATS over TCP or TLS, and over WebSocket where Node has it. */
export function dial(options: ConnectionOptions, webSocket: boolean): Promise<NatsConnection> {
  if (!webSocket) {
    return connect(options);
  }
  if (!("WebSocket" in globalThis)) {
    throw new CvfeederError("ws:// and wss:// need a WebSocket, which Node has from version 22 on");
  }
  return wsconnect(options);
}

/** Reads a file of credentials. */
export async function read(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (err) {
    throw new CvfeederError(`${option}: ${path} cannot be read: ${(err as Error).message}`);
  }
}

export const canDialTCP = true;

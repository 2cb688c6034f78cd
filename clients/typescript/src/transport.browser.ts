import { wsconnect, type ConnectionOptions, type NatsConnection } from "@nats-io/nats-core";
import { CvfeederError } from "./errors.js";

/** Connects to NATS over WebSocket, which is all that a browser has. */
export function dial(options: ConnectionOptions): Promise<NatsConnection> {
  return wsconnect(options);
}

/** Says that there are no files. */
export function read(option: string): Promise<string> {
  throw new CvfeederError(`${option}: a browser cannot read files: pass credentials or nkeySeed`);
}

export const canDialTCP = false;

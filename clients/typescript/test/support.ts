/** What the tests share: messages as cvfeeder publishes them, and servers. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { headers as natsHeaders, type NatsConnection } from "@nats-io/nats-core";
import { connect, type NodeConnectionOptions } from "@nats-io/transport-node";
import { timing } from "#internal/timing";

export const NATS = process.env["CVFEEDER_NATS"] ?? "";
export const FEEDER = process.env["CVFEEDER_FEEDER"] ?? "";
const NATS_SERVER = process.env["CVFEEDER_NATS_SERVER"] ?? "";

export const SUBJECT = "cvf.t.front-door.detector";
export const HEADERS: Record<string, string> = {
  "Cvf-Version": "1",
  "Cvf-Stream": "front-door",
  "Cvf-Output": "detector",
  "Cvf-Time": "2026-01-02T03:04:05.200Z",
  "Cvf-Capture": "2026-01-02T03:04:05.207Z",
  "Cvf-Dtype": "FP32",
  "Cvf-Shape": "1,3,2,4",
  "Cvf-Layout": "NCHW",
  "Cvf-Color": "RGB",
  "Cvf-Source": "1920x1080",
  "Cvf-Affine": "3,0,-1,0,3,-420",
  "Cvf-Scale": "0.00392156862745098",
  "Cvf-Mean": "0.485,0.456,0.406",
  "Cvf-Std": "0.229,0.224,0.225",
  "Cvf-Spec": "3f2a",
  "Nats-Msg-Id": "front-door/1767323045200/detector/3f2a",
};
export const PAYLOAD = Uint8Array.from({ length: 96 }, (_, i) => i);
export const GAP: Record<string, string> = {
  "Cvf-Version": "1",
  "Cvf-Stream": "front-door",
  "Cvf-Output": "detector",
  "Cvf-Time": "2026-01-02T03:04:05.400Z",
  "Cvf-Gap": "no_media",
  "Cvf-Gap-To": "2026-01-02T03:04:06.000Z",
  "Cvf-Gap-Slots": "4",
  "Cvf-Spec": "3f2a",
};

/** Notices within a second what takes up to fifteen otherwise. */
export function beQuick(): void {
  Object.assign(timing, { attempt: 1000, retry: 100, ping: 300, heartbeat: 300, quiet: 300, answers: 200 });
}

export async function publish(
  nc: NatsConnection,
  subject: string,
  headers: Readonly<Record<string, string>> = HEADERS,
  data: Uint8Array = PAYLOAD,
): Promise<void> {
  const encoded = natsHeaders();
  for (const [name, value] of Object.entries(headers)) {
    encoded.append(name, value);
  }
  nc.publish(subject, data, { headers: encoded });
  await nc.flush();
}

/** A tensor in n parts. */
export function parts(n: number, changes: Record<string, string> = {}): [Record<string, string>, Uint8Array][] {
  const size = Math.ceil(PAYLOAD.length / n);
  return Array.from({ length: n }, (_, i) => {
    const suffix = `${i + 1}/${n}`;
    const headers = { ...HEADERS, ...changes };
    headers["Nats-Msg-Id"] += `/${suffix}`;
    return [{ ...headers, "Cvf-Chunk": suffix }, PAYLOAD.slice(i * size, (i + 1) * size)];
  });
}

/** Makes the feeder of the Go test do something. */
export async function ask(path: string, request: object): Promise<void> {
  const reply = await fetch(FEEDER + path, { method: "POST", body: JSON.stringify(request) });
  if (!reply.ok) {
    throw new Error(await reply.text());
  }
}

/** Makes the feeder publish count tensors of a stream. */
export function feed(stream: string, changes: object = {}): Promise<void> {
  return ask("/tensors", {
    Stream: stream,
    Output: "detector",
    Slot: 1767323045200,
    Count: 1,
    Width: 4,
    Height: 2,
    DType: "float32",
    Layout: "nchw",
    Color: "rgb",
    Affine: [3, 0, -1, 0, 3, -420],
    Mean: [0.5, 0.25, 0],
    Std: [0.5, 1, 2],
    Fingerprint: "3f2a",
    ...changes,
  });
}

export async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await is())) {
    if (performance.now() > end) {
      throw new Error(`it never happened: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** The servers that run, which end with the tests, also when these are cut off. */
const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((server) => server.kill("SIGKILL")));
process.on("SIGTERM", () => process.exit(1));

/** A NATS server as a process, with JetStream unless its config has something else. */
export class Server {
  #process: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    private readonly dir: string,
  ) {}

  static async start(config = "jetstream: enabled\n"): Promise<Server> {
    const dir = await mkdtemp(join(tmpdir(), "cvfeeder-"));
    const server = new Server(await freePort(), dir);
    const text = `listen: "127.0.0.1:${server.port}"\nstore_dir: "${dir}/store"\nmax_payload: 8MB\n${config}`;
    await writeFile(join(dir, "nats.conf"), text);
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.#process = spawn(NATS_SERVER, ["-c", join(this.dir, "nats.conf")], { stdio: "ignore" });
    running.add(this.#process);
    await until("the server listens", () => canConnect(this.port));
  }

  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const process = this.#process;
    if (process !== undefined && process.exitCode === null && process.signalCode === null) {
      process.kill(signal);
      await once(process, "exit");
      running.delete(process);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async wipe(): Promise<void> {
    await this.end();
    await rm(join(this.dir, "store"), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGCONT");
    await this.end();
    await rm(this.dir, { recursive: true, force: true });
  }

  connect(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    return connect({ servers: `127.0.0.1:${this.port}`, ...options });
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}

/** A proxy before a server that can lose everything without closing a connection. */
export class Proxy {
  dropping = false;
  connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((client) => {
    this.connections++;
    const server = connectSocket(this.target, "127.0.0.1");
    for (const [from, to] of [[client, server], [server, client]] as const) {
      this.#sockets.add(from);
      from.on("data", (data) => this.dropping || to.write(data));
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });

  private constructor(private readonly target: number) {}

  static async start(target: number): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sockets.forEach((socket) => socket.destroy());
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** A message in a file as it is on the wire. */
export async function readMessageFile(path: string): Promise<[Record<string, string>, Uint8Array]> {
  const bytes = await readFile(path);
  const end = bytes.indexOf("\r\n\r\n");
  const lines = bytes.subarray(0, end).toString().split("\r\n").slice(1);
  const pairs = lines.map((line): [string, string] => {
    const at = line.indexOf(": ");
    return [line.slice(0, at), line.slice(at + 2)];
  });
  return [Object.fromEntries(pairs), bytes.subarray(end + 4)];
}

/** Readers of a real server that is killed, stopped, restarted empty, firewalled, or denies. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { ClosedError, CvfeederError, Frames, pull, ReadTimeoutError, subscribe, type Reader, type Tensor } from "cvfeeder";
import { beQuick, freePort, HEADERS, Proxy, publish, Server, until } from "./support.js";

beQuick();
const SUBJECT = "cvf.t.cam-1.detector";
const quiet = { log: (): void => undefined };

/** Publishes a tensor, into the stream if there is to be one, which is made if it is missing. */
async function send(server: Server, id: string, stored: boolean): Promise<void> {
  const nc = await server.connect();
  try {
    if (stored) {
      const jsm = await jetstreamManager(nc);
      await jsm.streams.add({ name: "cvfeeder", subjects: ["cvf.t.*.*"] });
    }
    await publish(nc, SUBJECT, { ...HEADERS, "Nats-Msg-Id": id });
  } finally {
    await nc.close();
  }
}

function reader(kind: string, url: string): Reader<Tensor> {
  return kind === "pull" ? pull({ durable: "d", servers: url, ...quiet }) : subscribe("cvf.t.>", { servers: url, ...quiet });
}

/** Waits until a reader knows that its connection is lost. */
async function lost(tensors: Reader<Tensor>): Promise<void> {
  await until("the connection is lost", async () => {
    const err: unknown = await tensors.read({ timeout: 50 }).catch((problem: unknown) => problem);
    assert.ok(err instanceof ReadTimeoutError, String(err));
    return err.message.includes("is not connected");
  });
}

interface Fault {
  begin(server: Server, proxy: Proxy): Promise<void> | void;
  end(server: Server, proxy: Proxy): Promise<void> | void;
}

const FAULTS: Record<string, Fault> = {
  killed: { begin: (server) => server.end(), end: (server) => server.start() },
  stopped: { begin: (server) => server.signal("SIGSTOP"), end: (server) => server.signal("SIGCONT") },
  "restarted empty": { begin: (server) => server.wipe(), end: (server) => server.start() },
  firewalled: { begin: (_, proxy) => void (proxy.dropping = true), end: (_, proxy) => void (proxy.dropping = false) },
};

test("a reader survives", { concurrency: 4, timeout: 60_000 }, async (t) => {
  await Promise.all(
    ["subscribe", "pull"].flatMap((kind) =>
      Object.entries(FAULTS).map(([name, fault]) => t.test(`${kind}, ${name}`, () => survives(kind, fault))),
    ),
  );
});

/** It is polled with a short timeout, as loops that gather a batch do. */
async function survives(kind: string, fault: Fault): Promise<void> {
  await using server = await Server.start();
  await using proxy = await Proxy.start(server.port);
  const stored = kind === "pull";
  if (stored) {
    await send(server, "first", true);
  }
  await using tensors = await reader(kind, proxy.url).open();
  if (!stored) {
    await send(server, "first", false);
  }
  const first = await tensors.read({ timeout: 10_000 });
  assert.equal(first.id, "first");
  first.ack();
  await fault.begin(server, proxy);
  await lost(tensors);
  await fault.end(server, proxy);
  let n = 0;
  await until("it reads again", async () => {
    await send(server, `again ${++n}`, stored);
    const again = await tensors.read({ timeout: 200 }).catch((err: unknown) => {
      assert.ok(err instanceof ReadTimeoutError, String(err));
    });
    again?.ack();
    return again?.id.startsWith("again") === true;
  });
}

test("a lost request is made again between short reads", { timeout: 30_000 }, async () => {
  await using server = await Server.start();
  await using proxy = await Proxy.start(server.port);
  await send(server, "first", true);
  await using tensors = await pull({ durable: "d", batch: 1, servers: proxy.url, ...quiet }).open();
  (await tensors.read({ timeout: 5000 })).ack();
  proxy.dropping = true;
  await assert.rejects(tensors.read({ timeout: 200 }), ReadTimeoutError);
  proxy.dropping = false;
  await send(server, "second", true);
  let got: Tensor | undefined;
  await until("it comes", async () => {
    got = await tensors.read({ timeout: 50 }).catch(() => undefined);
    return got !== undefined;
  });
  assert.equal(got?.id, "second");
});

test("a rolling restart is survived", { timeout: 30_000 }, async () => {
  await using server = await Server.start();
  await send(server, "first", true);
  await using tensors = await pull({ durable: "d", servers: server.url, ...quiet }).open();
  (await tensors.read({ timeout: 5000 })).ack();
  const waiting = tensors.read({ timeout: 20_000 });
  await server.end("SIGTERM"); // JetStream answers 409 Server Shutdown
  await server.start();
  await send(server, "second", true);
  assert.equal((await waiting).id, "second");
});

test("acknowledgements wait for the server", { timeout: 30_000 }, async () => {
  await using server = await Server.start();
  await send(server, "first", true);
  await using tensors = await pull({ durable: "d", servers: server.url, ...quiet }).open();
  const first = await tensors.read({ timeout: 5000 });
  await server.end("SIGTERM"); // killed, it could forget what it has delivered
  await lost(tensors);
  first.ack();
  await server.start();
  const nc = await server.connect();
  const jsm = await jetstreamManager(nc);
  await until("it is acknowledged", async () => {
    const info = await jsm.consumers.info("cvfeeder", "d").catch(() => undefined);
    return info?.num_ack_pending === 0 && info.ack_floor.stream_seq === 1;
  });
  await nc.close();
});

test("another server of the cluster takes over", { timeout: 30_000 }, async () => {
  const routes = [await freePort(), await freePort()];
  const config = (i: number): string =>
    `server_name: n${i}\nauthorization {user: u, password: "p:w"}\n` +
    `cluster {name: c, listen: "127.0.0.1:${routes[i]}", routes: ["nats://127.0.0.1:${routes[1 - i]}"]}\n`;
  await using one = await Server.start(config(0));
  await using two = await Server.start(config(1));
  const nc = await two.connect({ user: "u", pass: "p:w" });
  await until("they know each other", () => (nc.info?.connect_urls?.length ?? 0) > 1);
  await using tensors = await subscribe(SUBJECT, { servers: `nats://u:p%3Aw@127.0.0.1:${one.port}`, ...quiet }).open();
  await one.end();
  await lost(tensors);
  await until("it reads again", async () => {
    await publish(nc, SUBJECT);
    return tensors.read({ timeout: 100 }).then(() => true, () => false);
  });
  await nc.close();
});

test("closing does not wait for a server", { concurrency: 4, timeout: 60_000 }, async (t) => {
  const kinds = ["subscribe", "pull"].flatMap((kind) => ["killed", "stopped"].map((name) => [kind, name] as const));
  await Promise.all(kinds.map(([kind, name]) => t.test(`${kind}, ${name}`, () => closes(kind, FAULTS[name]))));
});

async function closes(kind: string, fault: Fault | undefined): Promise<void> {
  await using server = await Server.start();
  await using proxy = await Proxy.start(server.port);
  await send(server, "first", true);
  const tensors = await reader(kind, proxy.url).open();
  await fault?.begin(server, proxy);
  const waiting = tensors.read();
  const began = performance.now();
  await Promise.all([assert.rejects(waiting, ClosedError), tensors.close()]);
  assert.ok(performance.now() - began < 5000);
}

test("a server that is not there or silent is an error", { timeout: 30_000 }, async () => {
  const port = await freePort();
  const away = subscribe(SUBJECT, { servers: `nats://u:secret@127.0.0.1:${port}`, connectTimeout: 300, ...quiet });
  await assert.rejects(away.read(), (err: Error) => {
    assert.ok(err instanceof CvfeederError);
    assert.match(err.message, /^NATS at nats:\/\/127.0.0.1:\d+ cannot be reached within 0.3 s: .*ECONNREFUSED.*: start it/);
    return true;
  });
  await using server = await Server.start();
  await using proxy = await Proxy.start(server.port);
  proxy.dropping = true;
  const silent = subscribe(SUBJECT, { servers: proxy.url, connectTimeout: 300, ...quiet });
  await assert.rejects(silent.open(), /cannot be reached within 0.3 s: timeout/);
});

test("what is denied is an error that helps", { timeout: 30_000 }, async () => {
  await using server = await Server.start(
    'authorization {users: [{user: reader, password: pw, permissions: {publish: "none", subscribe: ["cvf.t.*.*"]}}]}\n',
  );
  const servers = `nats://reader:pw@127.0.0.1:${server.port}`;
  const denied = subscribe("other.>", { servers, ...quiet });
  await assert.rejects(denied.read({ timeout: 5000 }), /denies what this needs: .*Subscription to "other.>": grant it/);
  await assert.rejects(pull({ durable: "d", servers, ...quiet }).open(), /denies what this needs: .*_INBOX/);
  await assert.rejects(new Frames({ servers }).get({ stream: "s", time: new Date(), output: "o" }), /denies what this needs/);
  const wrong = `nats://reader:wrong@127.0.0.1:${server.port}`;
  await assert.rejects(subscribe("cvf.t.>", { servers: wrong, ...quiet }).open(), /refuses the connection: .*check user/);
  // What only makes the log better may be denied.
  const told: string[] = [];
  await using tensors = await subscribe("cvf.t.*.*", { servers, log: (text) => told.push(text) }).open();
  await until("it is silent", () => told.some((text) => text.includes("no cvfeeder answers")));
  await assert.rejects(tensors.read({ timeout: 50 }), ReadTimeoutError);
});

test("what pull needs is enough", { timeout: 30_000 }, async () => {
  const api = "$JS.API.CONSUMER";
  const publishes = [`${api}.INFO.cvfeeder.d`, `${api}.MSG.NEXT.cvfeeder.d`, "$JS.ACK.cvfeeder.d.>", `${api}.CREATE.cvfeeder.d.cvf.t.>`];
  await using server = await Server.start(
    "jetstream: enabled\n" +
      `authorization {users: [{user: admin, password: pw}, {user: reader, password: pw, permissions: {publish: ${JSON.stringify(publishes)}, subscribe: ["_INBOX.>"]}}]}\n`,
  );
  const nc = await server.connect({ user: "admin", pass: "pw" });
  await (await jetstreamManager(nc)).streams.add({ name: "cvfeeder", subjects: ["cvf.t.*.*"] });
  await publish(nc, SUBJECT);
  await using tensors = pull({ durable: "d", servers: server.url, user: "reader", password: "pw", ...quiet });
  (await tensors.read({ timeout: 10_000 })).ack();
  await nc.close();
});

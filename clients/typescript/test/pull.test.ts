import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { AckPolicy, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { ClosedError, pull, SpecMismatchError, type Tensor } from "cvfeeder";
import { beQuick, GAP, HEADERS, parts, PAYLOAD, publish, Server, until } from "./support.js";

beQuick();
const SUBJECT = "cvf.t.cam-1.detector";
const server = await Server.start();
const nc = await server.connect();
const jsm = await jetstreamManager(nc);
after(async () => {
  await nc.close();
  await server[Symbol.asyncDispose]();
});

const options = { stream: "", durable: "d", servers: server.url, log: (): void => undefined };
let count = 0;

/** Makes a stream in the place of the last one, by another name: the server removes its files later. */
async function makeStream(retention: RetentionPolicy = RetentionPolicy.Limits): Promise<void> {
  if (options.stream !== "") {
    await jsm.streams.delete(options.stream);
  }
  options.stream = `cvfeeder-${++count}`;
  await jsm.streams.add({ name: options.stream, subjects: ["cvf.t.*.*"], retention });
}

beforeEach(() => makeStream());

async function store(...ids: string[]): Promise<void> {
  for (const id of ids) {
    await publish(nc, SUBJECT, { ...HEADERS, "Nats-Msg-Id": id });
  }
}

async function unacked(): Promise<number> {
  return (await jsm.consumers.info(options.stream, "d")).num_ack_pending;
}

test("all once and in order, and what comes later at once", async () => {
  const ids = Array.from({ length: 10 }, (_, i) => `id ${i}`);
  await store(...ids);
  const got: string[] = [];
  for await (const t of pull({ ...options, subject: "cvf.t.*.detector" })) {
    got.push(t.id);
    t.ack();
    if (got.length === 10) {
      await store("later");
    }
    if (t.id === "later") {
      break;
    }
  }
  assert.deepEqual(got, [...ids, "later"]);
  assert.equal(await unacked(), 0);
});

test("without ack it comes again, by nak at once", async () => {
  await store("a");
  await using tensors = await pull(options).open();
  (await tensors.read({ timeout: 5000 })).nak();
  const again = await tensors.read({ timeout: 5000 });
  again.inProgress();
  again.nak(50);
  (await tensors.read({ timeout: 5000 })).ack();
  await until("it is acknowledged", async () => (await unacked()) === 0);
});

test("what was fetched and not read is given back in order", async () => {
  await store("a", "b", "c", "d", "e");
  await using reader = pull(options);
  for await (const t of reader) {
    assert.equal(t.id, "a");
    t.ack();
    await until("a batch has been fetched", async () => (await unacked()) >= 3);
    break;
  }
  await using next = await pull(options).open();
  for (const id of ["b", "c", "d", "e"]) {
    const t = await next.read({ timeout: 5000 });
    assert.equal(t.id, id);
    t.ack();
  }
});

test("parts are joined and acknowledged, and given back if some are missing", async () => {
  const [one, two] = parts(2);
  const [third, fourth] = parts(2, { "Nats-Msg-Id": "another" });
  assert.ok(one && two && third && fourth);
  await publish(nc, SUBJECT, ...one);
  await publish(nc, SUBJECT, ...two);
  await publish(nc, SUBJECT, ...third);
  await using reader = await pull(options).open();
  const t = await reader.read({ timeout: 5000 });
  assert.deepEqual([...t.payload], [...PAYLOAD]);
  t.ack();
  await until("only the third is not acknowledged", async () => (await unacked()) === 1);
  await reader.close();
  await using next = await pull(options).open();
  await publish(nc, SUBJECT, ...fourth);
  const again = await next.read({ timeout: 5000 });
  assert.deepEqual([again.id, again.payload.length], ["another", PAYLOAD.length]);
});

test("gaps that nobody wants are acknowledged, invalid messages ended", async () => {
  await publish(nc, SUBJECT, GAP, new Uint8Array());
  await publish(nc, SUBJECT, { ...HEADERS, "Cvf-Version": "9" });
  await store("a");
  await using tensors = await pull(options).open();
  (await tensors.read({ timeout: 5000 })).ack();
  assert.equal(tensors.invalid, 1);
  await until("nothing is left", async () => (await unacked()) === 0);
  await using gaps = pull({ ...options, durable: "g", gaps: true });
  assert.equal((await gaps.read({ timeout: 5000 })).kind, "gap");
});

test("a message larger than a batch may be comes alone", async () => {
  await store("a", "b");
  await using tensors = await pull({ ...options, batchBytes: 100 }).open();
  assert.deepEqual([(await tensors.read({ timeout: 5000 })).id, (await tensors.read({ timeout: 5000 })).id], ["a", "b"]);
});

test("another spec is refused, and stays for the right reader", async () => {
  await store("a");
  await using tensors = pull({ ...options, expectSpec: "x" });
  await assert.rejects(tensors.read({ timeout: 5000 }), SpecMismatchError);
  await tensors.close();
  await using right = pull(options);
  assert.equal((await right.read({ timeout: 5000 })).id, "a");
});

test("after the end, an acknowledgement is an error", async () => {
  await store("a");
  await using tensors = pull(options);
  const t = await tensors.read({ timeout: 5000 });
  await tensors.close();
  assert.throws(() => t.ack(), ClosedError);
});

test("what JetStream refuses is an error that helps", async () => {
  const read = async (changes: object): Promise<Tensor> => {
    await using tensors = pull({ ...options, ...changes });
    return await tensors.read({ timeout: 5000 });
  };
  await assert.rejects(read({ stream: "nothing" }), /there is no JetStream stream 'nothing': cvfeeder makes it/);
  await assert.rejects(read({ subject: "other.*" }), /has nothing on other.\*: it has cvf.t.\*.\*/);
  await jsm.consumers.add(options.stream, { durable_name: "d", ack_policy: AckPolicy.None, filter_subject: "cvf.t.>" });
  await assert.rejects(read({}), /with the ack policy 'none'.*nats consumer rm cvfeeder-\d+ d/);
  await assert.rejects(read({ subject: "cvf.t.a.b" }), /for the subject cvf.t.> and not cvf.t.a.b/);
  await makeStream(RetentionPolicy.Workqueue);
  await using first = pull(options);
  const deleted = first.read({ timeout: 5000 });
  const asked = async (): Promise<boolean> => (await jsm.consumers.info(options.stream, "d")).num_waiting === 1;
  await until("it waits", () => asked().catch(() => false));
  await assert.rejects(read({ durable: "e" }), /\(d: cvf.t.>\)\. Use its name as durable/);
  await Promise.all([
    assert.rejects(deleted, /409 Consumer Deleted: a reader that starts now makes it again/),
    jsm.consumers.delete(options.stream, "d"),
  ]);
});

test("no JetStream is an error", async () => {
  await using plain = await Server.start("");
  await assert.rejects(pull({ ...options, servers: plain.url }).open(), /NATS has no JetStream: start it with/);
});

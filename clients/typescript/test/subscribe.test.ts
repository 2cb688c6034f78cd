import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "@nats-io/transport-node";
import {
  ClosedError,
  CvfeederError,
  FrameError,
  Frames,
  Gap,
  InvalidMessageError,
  latest,
  pull,
  ReadTimeoutError,
  SpecMismatchError,
  subscribe,
  subscribeGaps,
  Tensor,
} from "cvfeeder";
import { ask, beQuick, feed, GAP, HEADERS, NATS, parts, PAYLOAD, publish, until } from "./support.js";

beQuick();
const nc = await connect({ servers: NATS.replace("nats://", "") });
after(() => nc.close());
const quiet = { log: (): void => undefined };
let count = 0;

/** A subject that no other test uses. */
function camera(): { stream: string; subject: string } {
  const stream = `cam-${++count}`;
  return { stream, subject: `cvf.t.${stream}.detector` };
}

test("what the feeder publishes is read", async () => {
  const { stream, subject } = camera();
  await using tensors = await subscribe(subject, { servers: NATS }).open();
  await feed(stream, { Count: 3 });
  for (let i = 0; i < 3; i++) {
    const t = await tensors.read({ timeout: 5000 });
    assert.equal(t.stream, stream);
    assert.equal(t.time.toISOString(), new Date(1767323045200 + 200 * i).toISOString());
    assert.deepEqual([...t.payload], [...PAYLOAD]);
    assert.deepEqual(t.affine, [3, 0, -1, 0, 3, -420]);
  }
});

test("a loop opens and closes, and a second one follows a break", async () => {
  const { stream, subject } = camera();
  const tensors = subscribe(subject, { servers: NATS });
  const feeding = setInterval(() => void feed(stream), 50);
  try {
    for (let i = 0; i < 2; i++) {
      for await (const t of tensors) {
        assert.equal(t.stream, stream);
        break;
      }
    }
  } finally {
    clearInterval(feeding);
  }
});

test("with newest, the newest of each subject waits, and beside it the newest late one", async () => {
  const [a, b, end] = [camera(), camera(), camera()];
  const subjects = [a.subject, b.subject, end.subject];
  await using tensors = await subscribe(subjects, { servers: NATS, newest: true }).open();
  await feed(a.stream, { Count: 5 });
  await feed(b.stream, { Count: 2 });
  await feed(a.stream, { Late: true, Count: 2 });
  await feed(end.stream);
  await until("all have come", () => tensors.skipped === 6);
  const got = [];
  for (let t = await tensors.read({ timeout: 5000 }); t.stream !== end.stream; t = await tensors.read({ timeout: 5000 })) {
    got.push([t.stream, (t.time.getTime() - 1767323045200) / 200, t.late]);
  }
  assert.deepEqual(got, [[a.stream, 4, false], [b.stream, 1, false], [a.stream, 1, true]]);
});

test("a full buffer loses the oldest", async () => {
  const { stream, subject } = camera();
  await using tensors = await subscribe(subject, { servers: NATS, buffer: 3 * (96 + 4096) }).open();
  await feed(stream, { Count: 10 });
  await until("all have come", () => tensors.skipped === 7);
  assert.equal((await tensors.read()).time.getTime(), 1767323045200 + 7 * 200);
});

test("gaps come in order, or not at all", async () => {
  const { stream, subject } = camera();
  await using both = await subscribe(subject, { servers: NATS, gaps: true }).open();
  await using one = await subscribe(subject, { servers: NATS }).open();
  await publish(nc, subject);
  await publish(nc, subject, { ...GAP, "Cvf-Stream": stream }, new Uint8Array());
  await publish(nc, subject);
  const kinds = [await both.read(), await both.read(), await both.read()].map(({ kind }) => kind);
  assert.deepEqual(kinds, ["tensor", "gap", "tensor"]);
  assert.deepEqual([(await one.read()).kind, (await one.read()).kind], ["tensor", "tensor"]);
});

test("the feeder's gap events", async () => {
  const { stream } = camera();
  await using gaps = await subscribeGaps(`cvf.gap.${stream}`, { servers: NATS }).open();
  await ask("/gap", { Stream: stream, From: 1767323045400, To: 1767323046000, Slots: 4, Reason: "no_media" });
  const gap = await gaps.read({ timeout: 5000 });
  assert.ok(gap instanceof Gap);
  assert.deepEqual([gap.stream, gap.slots, gap.reason, gap.output], [stream, 4, "no_media", ""]);
  assert.equal(gap.end.toISOString(), "2026-01-02T03:04:06.000Z");
});

test("the feeder's parts are joined", async () => {
  const { stream, subject } = camera();
  await using tensors = await subscribe(subject, { servers: NATS }).open();
  // Headers take about 700 bytes of the limit.
  await feed(stream, { Width: 40, Height: 20, Limit: 2000 });
  const t = await tensors.read({ timeout: 5000 });
  assert.equal(t.payload.length, 9600);
  assert.ok(t.payload.every((byte, i) => byte === i % 256));
  assert.equal(t.id.includes("/1/"), false);
});

test("parts of others are bounded, whatever they say", async () => {
  const [a, end] = [camera(), camera()];
  await using tensors = await subscribe([`cvf.t.${a.stream}.*`, end.subject], { servers: NATS, buffer: 1 << 20 }).open();
  for (let i = 0; i < 300; i++) {
    const [headers, data] = parts(3)[0] ?? [{}, PAYLOAD];
    await publish(nc, `cvf.t.${a.stream}.${i}`, { ...headers, "Cvf-Future": "x".repeat(4000) }, data);
  }
  await publish(nc, end.subject);
  await tensors.read({ timeout: 5000 });
  // Each takes more than 8 KB of the headers alone.
  assert.ok(tensors.incomplete > 300 - (1 << 20) / 8000, `${tensors.incomplete}`);
});

test("invalid messages are counted and told, or thrown", async () => {
  const { subject } = camera();
  const told: string[] = [];
  await using lax = await subscribe(subject, { servers: NATS, log: (text) => told.push(text) }).open();
  await using strict = await subscribe(subject, { servers: NATS, strict: true }).open();
  await publish(nc, subject, { ...HEADERS, "Cvf-Version": "2" });
  await publish(nc, subject);
  assert.equal((await lax.read()).kind, "tensor");
  assert.equal(lax.invalid, 1);
  assert.match(told.join(), /Cvf-Version: "2" is not the version 1/);
  await assert.rejects(strict.read(), InvalidMessageError);
  assert.equal((await strict.read()).kind, "tensor");
});

test("headers that nats.js cannot read are an invalid message, not the end", async () => {
  const { subject } = camera();
  await using tensors = await subscribe(subject, { servers: NATS, ...quiet }).open();
  const block = new TextEncoder().encode("NATS/1.0\r\nBad Näme: x\r\n\r\n");
  const broken = { encode: () => block, toString: () => "" };
  nc.publish(subject, PAYLOAD, { headers: broken as never });
  await publish(nc, subject);
  assert.equal((await tensors.read({ timeout: 5000 })).kind, "tensor");
  assert.equal(tensors.invalid, 1);
});

test("another spec is refused, and gap events have none", async () => {
  const { stream, subject } = camera();
  await using tensors = await subscribe([subject, `cvf.gap.${stream}`], { servers: NATS, gaps: true, expectSpec: ["1", "2"] }).open();
  await publish(nc, subject);
  await assert.rejects(tensors.read(), SpecMismatchError);
  await publish(nc, subject, { ...HEADERS, "Cvf-Spec": "2" });
  assert.equal((await tensors.read()).spec, "2");
  await ask("/gap", { Stream: stream, From: 1767323045400, To: 1767323046000, Slots: 4, Reason: "no_media" });
  assert.equal((await tensors.read({ timeout: 5000 })).kind, "gap");
});

test("all waits end: by a timeout, a signal, or the end of the reader", async () => {
  const { subject } = camera();
  const tensors = await subscribe(subject, { servers: NATS, ...quiet }).open();
  await assert.rejects(tensors.read({ timeout: 20 }), (err: Error) => {
    assert.ok(err instanceof ReadTimeoutError);
    assert.equal(err.message, `nothing on ${subject} within 0.02 s`);
    return true;
  });
  const stop = new AbortController();
  const reading = tensors.read({ signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(reading, /enough/);
  await assert.rejects(tensors.read({ signal: stop.signal }), /enough/);
  const waiting = [tensors.read(), tensors.read({ timeout: 60_000 })];
  const loop = (async () => {
    for await (const _ of tensors) {
      assert.fail("nothing is published");
    }
  })();
  await assert.rejects(tensors.open(), /is open already/);
  // The loop ends without an error.
  await Promise.all([tensors.close(), loop, ...waiting.map((wait) => assert.rejects(wait, ClosedError))]);
  await tensors.close();
  await assert.rejects(tensors.read(), ClosedError);
});

test("a read that ended early loses nothing", async () => {
  const { subject } = camera();
  await using tensors = await subscribe(subject, { servers: NATS, ...quiet }).open();
  await assert.rejects(tensors.read({ timeout: 1 }), ReadTimeoutError);
  await publish(nc, subject);
  assert.equal((await tensors.read({ timeout: 5000 })).kind, "tensor");
});

test("latest", async () => {
  const { stream, subject } = camera();
  const feeding = setInterval(() => void feed(stream), 50);
  try {
    assert.ok((await latest(subject, { servers: NATS, timeout: 5000 })) instanceof Tensor);
  } finally {
    clearInterval(feeding);
  }
  await assert.rejects(latest(camera().subject, { servers: NATS, timeout: 50 }), ReadTimeoutError);
});

test("a silent subject says what there is", async () => {
  const { subject } = camera();
  const told: string[] = [];
  await using _ = await subscribe(subject, { servers: NATS, log: (text) => told.push(text) }).open();
  await until("it is told", () => told.length > 0);
  assert.equal(told.join(), `nothing on ${subject} within 0.3 s: cvfeeder publishes cvf.t.cam-1.detector`);
});

test("mistakes are errors of the call", () => {
  const wrong = (options: object) => () => subscribe("cvf.t.>", options);
  assert.throws(wrong({ newst: true }), /no option newst: did you mean newest\?/);
  assert.throws(wrong({ zzzzzzzz: 1 }), /no option zzzzzzzz; it has newest, gaps/);
  assert.throws(wrong({ newest: "yes" }), /newest is a string, not a boolean/);
  assert.throws(wrong({ buffer: 0 }), /buffer is 0, but has to be more than 0/);
  assert.throws(wrong({ queue: "a b" }), /queue is 'a b'/);
  assert.throws(wrong({ servers: "http://x" }), /is not a URL like nats/);
  assert.throws(wrong({ servers: [] }), /servers is empty/);
  assert.throws(wrong({ servers: "ws://a,nats://b" }), /either all ws/);
  assert.throws(() => subscribe("cvf..x"), /is no subject/);
  assert.throws(() => subscribe("cvf.>.x"), /is no subject/);
  assert.throws(() => subscribe([]), /no subject is given/);
  assert.throws(() => subscribe(["cvf.t.*.a", "cvf.t.b.>"]), /overlap/);
  assert.throws(() => subscribeGaps("cvf.t.>"), /not a subject of gap events/);
  assert.throws(() => pull({} as never), /durable is missing/);
  assert.throws(() => pull({ durable: "a.b" }), /durable is 'a.b'/);
});

test("credentials that cannot be used are an error at once", async () => {
  const read = (options: object) => subscribe("cvf.t.>", { servers: NATS, ...quiet, ...options }).read();
  await assert.rejects(read({ credentialsFile: "/nowhere.creds" }), /\/nowhere.creds cannot be read/);
  await assert.rejects(read({ credentials: "hello" }), /has no part 'BEGIN NATS USER JWT'/);
  await assert.rejects(read({ nkeySeed: "SUAX" }), /the seed of the nkey is damaged/);
  await assert.rejects(read({ tls: {} }), /does not have TLS/);
});

test("a frame is asked for", async () => {
  await using frames = new Frames({ servers: NATS });
  const t = await frames.get({ stream: "cam-1", time: "2026-01-02T03:04:05.3Z", output: "detector" });
  assert.ok(t instanceof Tensor);
  assert.equal(t.time.toISOString(), "2026-01-02T03:04:05.300Z");
  assert.equal(t.stream, "cam-1");
  const refused = frames.get({ stream: "cam-9", time: new Date(), output: "detector" });
  await assert.rejects(refused, (err: Error) => err instanceof FrameError && err.code === 404 && err.message === "unknown stream cam-9");
  await ask("/restart", {});
  await until("it is connected again", () =>
    frames.get({ stream: "cam-1", time: new Date(), output: "detector" }, { timeout: 1000 }).then(() => true, () => false));
  await frames.close();
  await assert.rejects(frames.get({ stream: "cam-1", time: new Date(), output: "detector" }), ClosedError);
});

test("a frame that nobody can make is an error", async () => {
  await using away = new Frames({ servers: "nats://127.0.0.1:1" });
  const request = { stream: "cam-1", time: new Date(), output: "detector" };
  await assert.rejects(away.get(request, { timeout: 300 }), (err: Error) => {
    assert.ok(err instanceof ReadTimeoutError && err instanceof CvfeederError);
    assert.match(err.message, /127.0.0.1:1 cannot be reached within 0.3 s: .*ECONNREFUSED/);
    return true;
  });
});

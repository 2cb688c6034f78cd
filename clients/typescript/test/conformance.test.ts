/** The cases that all clients run: ../conformance/README.md says what they mean. */
import assert from "node:assert/strict";
import { appendFile, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { test } from "node:test";
import { connect } from "@nats-io/transport-node";
import { Gap, InvalidMessageError, subscribe, Tensor, bfloat16sToFloats, halvesToFloats } from "cvfeeder";
import { SIZES } from "#internal/datatype";
import { HEADERS, NATS, PAYLOAD, publish, readMessageFile } from "./support.js";

interface Case {
  about: string;
  messages: { file: string; subject: string }[];
  want: Record<string, unknown>[];
  without?: Record<string, unknown>[]; // what comes without shared memory, which this client does not read
  incomplete: number;
}

const CASES = process.env["CVFEEDER_CONFORMANCE"] ?? "";
const EVENT = { stream: "end", from: "2026-01-02T03:04:05Z", to: "2026-01-02T03:04:05Z", slots: 1, reason: "stale" };
const ENDS = ["cvf.t.end.end", "cvf.gap.end"];
const NOT_FIELDS = ["kind", "elements", "values", "boxes", "payload", "content_type"];

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function near(got: ArrayLike<number>, want: unknown, within: number): void {
  const wanted = want as number[];
  assert.equal(got.length, wanted.length);
  wanted.forEach((value, i) => assert.ok(Math.abs((got[i] ?? NaN) - value) <= within, `${got[i]} is not ${value}`));
}

function check(want: Record<string, unknown>, got: unknown): void {
  if (want["kind"] === "invalid") {
    assert.ok(got instanceof InvalidMessageError, String(got));
    return;
  }
  assert.ok(got instanceof (want["kind"] === "gap" ? Gap : Tensor), String(got));
  for (const [field, value] of Object.entries(want)) {
    const is: unknown = (got as unknown as Record<string, unknown>)[camelCase(field)];
    if (is instanceof Date) {
      assert.equal(is.getTime(), Date.parse(value as string), field);
    } else if (!NOT_FIELDS.includes(field)) {
      assert.deepEqual(JSON.parse(JSON.stringify(is)), value, field);
    }
  }
  if (got instanceof Tensor) {
    assert.equal(got.contentType, want["content_type"] ?? "");
  }
  if (got instanceof Tensor && "payload" in want) {
    assert.deepEqual([...got.payload], want["payload"]);
  }
  if (got instanceof Tensor && "elements" in want) {
    const { array } = got;
    const convert = got.datatype === "BF16" ? bfloat16sToFloats : halvesToFloats;
    near(array instanceof Uint16Array ? convert(array) : (array as ArrayLike<number>), want["elements"], 0);
    near(got.normalize(), want["values"], 1e-6);
  }
  type Mapped = [[number, number, number, number], number[], number?];
  for (const [box, mapped, tile] of (want["boxes"] ?? []) as Mapped[]) {
    const which = tile === undefined ? {} : { tile };
    near((got as Tensor).boxToSource(box, { clip: true, ...which }), mapped, 1e-9);
  }
}

test("the types of elements are those of cvfeeder", async () => {
  const text = await readFile(join(CASES, "../dtypes.json"), "utf8");
  const rows = JSON.parse(text) as { datatype: string; size: number }[];
  assert.deepEqual(SIZES, Object.fromEntries(rows.map(({ datatype, size }) => [datatype, size])));
});

const names = await readdir(CASES);
assert.ok(names.length >= 30, "there are cases");
const nc = await connect({ servers: NATS.replace("nats://", "") });

test("conformance", async (t) => {
  for (const name of names) {
    await t.test(name, { timeout: 20_000 }, () => run(join(CASES, name)));
  }
  await nc.close();
});

async function run(dir: string): Promise<void> {
  const about = JSON.parse(await readFile(join(dir, "case.json"), "utf8")) as Case;
  const got: unknown[] = [];
  await using items = await subscribe(["cvf.t.>", "cvf.gap.>"], { servers: NATS, gaps: true, strict: true }).open();
  for (const { file, subject } of about.messages) {
    await publish(nc, subject, ...(await readMessageFile(join(dir, file))));
  }
  await publish(nc, "cvf.t.end.end", HEADERS, PAYLOAD); // each of the two subscriptions has its own order
  await publish(nc, "cvf.gap.end", {}, new TextEncoder().encode(JSON.stringify(EVENT)));
  for (let ends = 0; ends < ENDS.length; ) {
    const item = await items.read({ timeout: 10_000 }).catch((err: unknown) => err);
    if ((item instanceof Tensor || item instanceof Gap) && ENDS.includes(item.subject)) {
      ends++;
    } else {
      assert.ok(item instanceof Tensor || item instanceof Gap || item instanceof InvalidMessageError, String(item));
      got.push(item);
    }
  }
  const expected = about.without ?? about.want;
  assert.equal(got.length, expected.length, `${about.about}: ${got.join()}`);
  expected.forEach((want, i) => check(want, got[i]));
  assert.equal(items.incomplete, about.incomplete);
  await appendFile(process.env["CVFEEDER_PASSED"] ?? "", `${basename(dir)}\n`);
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHalf, Gap, halvesToFloats, InvalidMessageError, parse, Tensor, type CanvasLike } from "cvfeeder";
import { HEADERS, PAYLOAD, SUBJECT, parts } from "./support.js";

/** The payload at an offset of a larger buffer, as it arrives. */
function at(offset: number, data: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(offset + data.length);
  buffer.set(data, offset);
  return buffer.subarray(offset);
}

function tensor(changes: Record<string, string> = {}, data: Uint8Array = PAYLOAD): Tensor {
  const item = parse(SUBJECT, { ...HEADERS, ...changes }, data);
  assert.ok(item instanceof Tensor);
  return item;
}

function halves(...bits: number[]): Uint8Array {
  return new Uint8Array(Uint16Array.from(bits).buffer);
}

const GRAY = { "Cvf-Color": "GRAY", "Cvf-Mean": "0", "Cvf-Std": "1", "Cvf-Shape": "1,1,1,4" };

test("a payload is a view where that may be, and a copy where not", () => {
  const want = [...new Float32Array(PAYLOAD.slice().buffer)];
  for (let offset = 0; offset < 8; offset++) {
    const payload = at(offset, PAYLOAD);
    const { array } = tensor({}, payload);
    assert.ok(array instanceof Float32Array);
    assert.deepEqual([...array], want);
    assert.equal(array.buffer === payload.buffer, offset % 4 === 0, `at ${offset}`);
  }
});

test("the payload of Node's Buffer is copied, too", () => {
  const payload = Buffer.from(at(1, PAYLOAD).buffer, 1);
  assert.equal(tensor({}, payload).array.length, 24);
});

test("half precision at any offset, with and without Float16Array", () => {
  const bits = [0x3c00, 0xc000, 0x0001, 0x7bff];
  const want = [1, -2, 2 ** -24, 65504];
  const native = (globalThis as { Float16Array?: unknown }).Float16Array;
  for (const offset of [0, 1, 2, 3]) {
    const one = tensor({ ...GRAY, "Cvf-Dtype": "FP16" }, at(offset, halves(...bits)));
    assert.deepEqual([...one.normalize()], want);
    if (native === undefined) {
      assert.deepEqual(one.array, Uint16Array.from(bits));
    }
  }
  class Float16Array extends Float32Array {
    constructor(buffer: ArrayBufferLike, offset: number, length: number) {
      super(Array.from(new Uint16Array(buffer, offset, length), fromHalf));
    }
  }
  Object.assign(globalThis, { Float16Array });
  try {
    const { array } = tensor({ ...GRAY, "Cvf-Dtype": "FP16" }, halves(...bits));
    assert.ok(array instanceof Float16Array, "the engine's own type is used");
  } finally {
    Object.assign(globalThis, { Float16Array: native });
  }
});

test("all halves", () => {
  assert.deepEqual([fromHalf(0x7c00), fromHalf(0xfc00), fromHalf(0x7c01)], [Infinity, -Infinity, NaN]);
  assert.ok(Object.is(fromHalf(0x8000), -0));
  assert.equal(halvesToFloats(Uint16Array.of(0x03ff))[0], 1023 * 2 ** -24);
  assert.equal(fromHalf(0x3555), 1365 / 4096);
});

test("points and boxes map back", () => {
  const one = tensor({ "Cvf-Affine": "0,-2,100,3,0,7" });
  assert.deepEqual(one.pointToSource([10, 20]), [60, 37]);
  assert.deepEqual(one.boxToSource([10, 20, 30, 40]), [20, 37, 60, 97]);
  assert.deepEqual(tensor().boxToSource([-10, 0, 10_000, 200], { clip: true }), [0, 0, 1920, 180]);
});

test("a picture is drawn with the normalization undone", () => {
  const pixels = [0, 100, 200, 255, 50, 150];
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  const planes = [0, 255, 100, 50, 200, 150]; // two pixels, NCHW
  const normal = planes.map((pixel, i) => (pixel / 255 - (mean[i >> 1] ?? 0)) / (std[i >> 1] ?? 1));
  const changes = { "Cvf-Shape": "1,3,1,2" };
  const floats = at(1, new Uint8Array(Float32Array.from(normal).buffer));
  const rgb = [0, 100, 200, 255, 255, 50, 150, 255];
  assert.deepEqual(tensor(changes, floats).toRGBA(), { width: 2, height: 1, data: Uint8ClampedArray.from(rgb) });
  const bgr = tensor({ ...changes, "Cvf-Color": "BGR" }, floats).toRGBA().data;
  // The channels of mean and std are those of the tensor, whatever their colour.
  assert.deepEqual([...bgr], [200, 100, 0, 255, 150, 50, 255, 255]);
  const raw = { "Cvf-Shape": "1,1,2,3", "Cvf-Layout": "NHWC", "Cvf-Dtype": "UINT8", "Cvf-Normalized": "false" };
  assert.deepEqual([...tensor(raw, Uint8Array.from(pixels)).toRGBA().data], rgb);
  const gray = { ...GRAY, "Cvf-Shape": "1,1,1,2", "Cvf-Dtype": "UINT8" };
  const shades = tensor({ ...gray, "Cvf-Scale": "1", "Cvf-Normalized": "false" }, Uint8Array.of(7, 9)).toRGBA();
  assert.deepEqual([...shades.data], [7, 7, 7, 255, 9, 9, 9, 255]);
});

test("drawing sizes the canvas, and says where it cannot", () => {
  const drawn: unknown[] = [];
  const context = { putImageData: (image: never, x: number, y: number) => drawn.push(image, x, y) };
  const canvas: CanvasLike = { width: 1, height: 1, getContext: () => context };
  assert.throws(() => tensor().draw(canvas), /needs a canvas .* toRGBA\(\)/);
  class ImageData {
    constructor(readonly data: object, readonly width: number, readonly height: number) {}
  }
  Object.assign(globalThis, { ImageData });
  try {
    tensor().draw(canvas);
  } finally {
    Object.assign(globalThis, { ImageData: undefined });
  }
  assert.deepEqual([canvas.width, canvas.height, drawn.length], [4, 2, 3]);
});

test("a part, and a payload of another length, are refused", () => {
  const [headers, data] = parts(2)[0] ?? [{}, PAYLOAD];
  assert.throws(() => parse(SUBJECT, headers, data), InvalidMessageError);
  assert.throws(() => tensor({}, PAYLOAD.slice(1)), /has 95 bytes, but 1,3,2,4 of FP32 needs 96/);
  assert.throws(() => tensor({ "Cvf-Time": "2026-02-30T00:00:00Z" }), /is not a time/);
});

test("the end of a replay is no tensor", () => {
  const headers = {
    "Cvf-Version": "1",
    "Cvf-Stream": "cam-1",
    "Cvf-Output": "detector",
    "Cvf-Time": "2026-01-02T03:00:00.000Z",
    "Cvf-End": "3",
    "Cvf-Replay": "j1",
    "Cvf-Spec": "f1",
  };
  const end = parse("cvf.r.j1.cam-1.detector", headers, new Uint8Array());
  assert.ok(end instanceof Gap);
  assert.deepEqual([end.stream, end.output, end.reason, end.slots], ["cam-1", "detector", "end", 3]);
  assert.equal(end.end.toISOString(), "2026-01-02T03:00:00.000Z");
  assert.throws(() => parse("cvf.r.j1.cam-1.detector", headers, PAYLOAD), InvalidMessageError);
});

test("what came before, and the burst", () => {
  const t = tensor({ "Cvf-Since": "2026-01-02T03:03:55.200Z", "Cvf-Burst": "b7k2" });
  assert.equal(t.since?.toISOString(), "2026-01-02T03:03:55.200Z");
  assert.equal(t.burst, "b7k2");
  assert.equal(tensor().since, undefined);
  assert.equal(tensor().burst, "");
  assert.throws(() => tensor({ "Cvf-Since": "yesterday" }), InvalidMessageError);
});

test("how good the camera's pictures are", () => {
  const t = tensor({ "Cvf-Quality": "112.4,38.2,182.5,0.001,0.83,0.97,0.4,7,-;blurred,frozen" });
  assert.deepEqual(t.quality, {
    mean: 112.4,
    contrast: 38.2,
    sharpness: 182.5,
    clipped: 0.001,
    difference: 0.83,
    similarity: 0.97,
    age: 0.4,
    conditions: ["blurred", "frozen"],
  });
  const first = tensor({ "Cvf-Quality": "3.0,0.4,0.2,0.950,-,-,0.0" }).quality;
  assert.deepEqual([first?.difference, first?.similarity], [undefined, undefined]);
  assert.deepEqual(first?.conditions, []);
  assert.equal(tensor().quality, undefined);
  for (const wrong of ["1,2,3", "1,2,3,4,5,6,x", "-,2,3,4,5,6,7", "1,2,3,4,5,6,7;"]) {
    assert.throws(() => tensor({ "Cvf-Quality": wrong }), InvalidMessageError);
  }
});

test("age", () => {
  assert.equal(tensor().age(new Date("2026-01-02T03:04:06Z")), 800);
});

const TILES = { ...GRAY, "Cvf-Affine": "1,0,0,0,1,0;2,0,5,0,2,0", "Cvf-Shape": "2,1,1,2" };
const UINT8 = { "Cvf-Dtype": "UINT8", "Cvf-Normalized": "false", "Cvf-Scale": "1" };

test("of several tiles, the one that is meant has to be said", () => {
  const t = tensor({ ...TILES, ...UINT8 }, Uint8Array.of(10, 20, 30, 40));
  assert.deepEqual([t.pictures, t.width, t.height], [2, 2, 1]);
  assert.deepEqual(t.pointToSource([1, 1], { tile: 1 }), [7, 2]);
  assert.deepEqual([...t.toRGBA({ tile: 1 }).data], [30, 30, 30, 255, 40, 40, 40, 255]);
  assert.deepEqual(t.source, [1920, 1080]);
  assert.deepEqual(t.sources, [[1920, 1080], [1920, 1080]]);
  for (const wrong of [{}, { tile: 2 }, { tile: -1 }, { tile: 0.5 }]) {
    assert.throws(() => t.pointToSource([1, 1], wrong), /tile|no picture/);
  }
  assert.throws(() => t.affine, /affines/);
});

test("each row of a batch across cameras has its source", () => {
  const batch = { "Cvf-Batch": "a,!b", "Cvf-Source": "9x7;0x0" };
  const t = tensor({ ...TILES, ...UINT8, ...batch }, new Uint8Array(4));
  assert.throws(() => t.source, /sources/);
  assert.deepEqual(t.pointToSource([100, 100], { tile: 0, clip: true }), [9, 7]);
});

test("a frame of a clip is drawn in any layout", () => {
  const clip = { ...UINT8, "Cvf-Clip": "2026-01-02T03:04:05Z,2026-01-02T03:04:06Z!repeat" };
  const frames = [[1, 2, 3], [4, 5, 6]]; // RGB
  const layouts: [string, string, number[]][] = [
    ["NCTHW", "1,3,2,1,1", [1, 4, 2, 5, 3, 6]],
    ["NTCHW", "1,2,3,1,1", [1, 2, 3, 4, 5, 6]],
    ["NTHWC", "1,2,1,1,3", [1, 2, 3, 4, 5, 6]],
  ];
  for (const [layout, shape, elements] of layouts) {
    const changes = { ...clip, "Cvf-Layout": layout, "Cvf-Shape": shape };
    const t = tensor(changes, Uint8Array.from(elements));
    frames.forEach((rgb, frame) => assert.deepEqual([...t.toRGBA({ frame }).data], [...rgb, 255], layout));
  }
});

test("an encoded picture has no elements", async () => {
  const { "Cvf-Dtype": _d, "Cvf-Layout": _l, "Cvf-Scale": _s, ...headers } = HEADERS;
  const picture = { ...headers, "Content-Type": "image/png", "Content-Length": "3", "Cvf-Shape": "1080,1920,3" };
  const t = parse(SUBJECT, picture, Uint8Array.of(1, 2, 3));
  assert.ok(t instanceof Tensor);
  assert.deepEqual([t.width, t.height, t.pictures], [1920, 1080, 1]);
  const blob = t.toBlob();
  assert.equal(blob.type, "image/png");
  assert.deepEqual([...new Uint8Array(await blob.arrayBuffer())], [1, 2, 3]);
  assert.throws(() => t.array, /encoded/);
  assert.throws(() => t.toRGBA(), /encoded/);
  assert.throws(() => tensor().toBlob(), /elements/);
});

test("points of a rectified picture go on to the camera's own", () => {
  const matrices = "1920x1080;1920x1080;1000,1010,959.5,530;800,790,950,545";
  const cases: [string, number, number][] = [
    [`pinhole;${matrices};-0.3,0.1,0.001,-0.002,0.01`, 593.3397827148438, 306.9635009765625],
    [`fisheye;${matrices};0.05,-0.01,0.003,-0.001`, 592.4578247070312, 305.9678649902344],
    ["homography;1920x1080;1280x720;0.5,0,10,0,0.5,20,0,0,1", 330, 200],
  ];
  for (const [map, x, y] of cases) {
    const t = tensor({ "Cvf-Affine": "2,0,0.5,0,2,0.5", "Cvf-Map": map });
    const [gotX, gotY] = t.pointToSource([320, 180]);
    assert.ok(Math.hypot(gotX - 0.5 - x, gotY - 0.5 - y) < 0.01, `${map}: ${gotX}, ${gotY}`);
    const [left, top, right, bottom] = t.boxToSource([0, 0, 1e5, 1e5], { clip: true });
    assert.ok(left >= 0 && top >= 0 && right <= 1920 && bottom <= 1080);
  }
  const behind = { "Cvf-Affine": "1,0,0,0,1,0", "Cvf-Map": "homography;64x48;200x48;1,0,0,0,1,0,0.5,0,-50.25" };
  assert.deepEqual(tensor(behind).pointToSource([101, 3]), [NaN, NaN]);
  for (const map of ["", "wide;1x1;1x1;1", "pinhole;1x1;1x1;1,1,1,1;0,1,1,1;0,0,0,0", "homography;1x1;1x1;1,0,0", "fisheye;1x0;1x1;1,1,1,1;1,1,1,1;0,0,0,0"]) {
    assert.throws(() => tensor({ "Cvf-Map": map }), InvalidMessageError);
  }
});

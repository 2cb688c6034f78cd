import { DATATYPES, SIZES, type Datatype } from "./datatype.js";
import { Delivered } from "./delivered.js";
import { CvfeederError, InvalidMessageError } from "./errors.js";
import { bfloat16sToFloats, halfConstructor, halvesToFloats, type HalfArray } from "./float16.js";
import { MAX_BYTES, Headers, traceparent, type HeaderRecord } from "./headers.js";

/** A point in pixels: x, y. */
export type Point = readonly [number, number];

/** A box in pixels: x1, y1, x2, y2. */
export type Box = readonly [number, number, number, number];

/** What the headers of a tensor say. */
export interface TensorFields {
  /** The camera. */
  readonly stream: string;
  /** The output of cvfeeder's config. */
  readonly output: string;
  /** The slot, exact to the millisecond. */
  readonly time: Date;
  /** The service's own timestamp of the picture. */
  readonly capture: Date;
  /** Whether it comes after newer ones: its slot was announced as a gap before, or a burst looks back. */
  readonly late: boolean;
  /** When the tensor published before it is of, if its output has a gate: between them nothing new was seen. */
  readonly since?: Date | undefined;
  /** The burst that it belongs to, "" if it belongs to none. */
  readonly burst: string;
  /** The message's identity, the same on every attempt. */
  readonly id: string;
  /** The W3C trace context of its publication, "" if it is not traced. */
  readonly traceparent: string;
  readonly datatype: Datatype;
  readonly layout: "NCHW" | "NHWC";
  /** [1, C, H, W] for NCHW, [1, H, W, C] for NHWC; H and W in pixels. */
  readonly shape: readonly [number, number, number, number];
  /** The order of the C channels, 3 or 1. */
  readonly color: "RGB" | "BGR" | "GRAY";
  /** Width and height in pixels of the picture before preprocessing. */
  readonly source: readonly [number, number];
  /**
   * [a, b, c, d, e, f]: x_source = a*x + b*y + c, y_source = d*x + e*y + f, in pixels, with
   * the origin at the top-left corner of the top-left pixel.
   */
  readonly affine: readonly number[];
  /** value = (pixel * scale - mean) / std, where a pixel is 0 to 255. */
  readonly scale: number;
  /** One value for each channel. */
  readonly mean: readonly number[];
  /** One value for each channel. */
  readonly std: readonly number[];
  /** False if the elements are the pixels, which the consumer has to normalize. */
  readonly normalized: boolean;
  /** value = (element - quantZeroPoint) * quantScale, if the elements are quantized; otherwise 0. */
  readonly quantScale: number;
  /** The element whose value is 0, if the elements are quantized; otherwise 0. */
  readonly quantZeroPoint: number;
  /** The fingerprint of the preprocessing, and of the libraries that did it. */
  readonly spec: string;
}

/** What the elements of a tensor may be in. */
export type TensorArray = Float32Array | HalfArray | Uint16Array | Uint8Array | Int8Array;

/** One preprocessed picture of one camera, and what is known about it. */
export class Tensor extends Delivered implements TensorFields {
  declare readonly stream: string;
  declare readonly output: string;
  declare readonly time: Date;
  declare readonly capture: Date;
  declare readonly late: boolean;
  declare readonly since?: Date | undefined;
  declare readonly burst: string;
  declare readonly id: string;
  declare readonly traceparent: string;
  declare readonly datatype: Datatype;
  declare readonly layout: "NCHW" | "NHWC";
  declare readonly shape: readonly [number, number, number, number];
  declare readonly color: "RGB" | "BGR" | "GRAY";
  declare readonly source: readonly [number, number];
  declare readonly affine: readonly number[];
  declare readonly scale: number;
  declare readonly mean: readonly number[];
  declare readonly std: readonly number[];
  declare readonly normalized: boolean;
  declare readonly quantScale: number;
  declare readonly quantZeroPoint: number;
  declare readonly spec: string;
  readonly kind = "tensor";
  #array: TensorArray | undefined;

  /** @internal */
  constructor(
    subject: string,
    fields: TensorFields,
    /** The bytes of the elements, little-endian, in C order, for Triton or KServe as they are. */
    readonly payload: Uint8Array,
  ) {
    super(subject);
    Object.assign(this, fields);
  }

  /** In pixels. */
  get width(): number {
    return this.layout === "NCHW" ? this.shape[3] : this.shape[2];
  }

  /** In pixels. */
  get height(): number {
    return this.layout === "NCHW" ? this.shape[2] : this.shape[1];
  }

  /** 3, or 1 for GRAY. */
  get channels(): number {
    return this.color === "GRAY" ? 1 : 3;
  }

  /**
   * The elements as they were sent, in C order: a Float32Array for FP32, a Uint8Array for
   * UINT8, an Int8Array for INT8, for FP16 a Float16Array, or where the engine has none a
   * Uint16Array of the bits, and for BF16 always these.
   *
   * It is a view of the payload if that begins where such an array may, and otherwise a copy,
   * made once. Do not write to it.
   */
  get array(): TensorArray {
    return (this.#array ??= this.#view());
  }

  /**
   * The normalized elements: for FP32 the array itself, otherwise converted to it.
   *
   * FP16 and BF16 are converted, what is quantized is computed as `quantScale` and
   * `quantZeroPoint` say, and UINT8 that is not normalized is normalized as `scale`, `mean`
   * and `std` say.
   */
  normalize(): Float32Array {
    const { array } = this;
    if (array instanceof Float32Array) {
      return array;
    }
    let floats: Float32Array;
    if (array instanceof Uint8Array || array instanceof Int8Array) {
      floats = Float32Array.from(array);
    } else if (this.datatype === "BF16") {
      floats = bfloat16sToFloats(array as Uint16Array);
    } else {
      floats = halvesToFloats(array);
    }
    if (this.quantScale !== 0) {
      for (let i = 0; i < floats.length; i++) {
        floats[i] = ((floats[i] ?? 0) - this.quantZeroPoint) * this.quantScale;
      }
    }
    if (!this.normalized) {
      this.#eachChannel((at, scale, mean, std) => {
        floats[at] = ((floats[at] ?? 0) * scale - mean) / std;
      });
    }
    return floats;
  }

  /** Milliseconds from the slot until now, or until the given time. */
  age(now: Date = new Date()): number {
    return now.getTime() - this.time.getTime();
  }

  /** Maps a point in the tensor to the camera's picture. With clip, it is kept within it. */
  pointToSource([x, y]: Point, { clip = false } = {}): [number, number] {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = this.affine;
    const [width, height] = this.source;
    const at: [number, number] = [a * x + b * y + c, d * x + e * y + f];
    return clip ? [clamp(at[0], width), clamp(at[1], height)] : at;
  }

  /**
   * Maps a box in the tensor to the camera's picture. It stays upright: it is the smallest
   * box that holds the four mapped corners. With clip, it is kept within the picture.
   */
  boxToSource([x1, y1, x2, y2]: Box, options = { clip: false }): [number, number, number, number] {
    const corners: Point[] = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
    const mapped = corners.map((corner) => this.pointToSource(corner, options));
    const xs = mapped.map(([x]) => x);
    const ys = mapped.map(([, y]) => y);
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  /** Returns the picture that the model sees, with the normalization undone: RGBA, row by row. */
  toRGBA(): { width: number; height: number; data: Uint8ClampedArray<ArrayBuffer> } {
    const { width, height, channels } = this;
    const data = new Uint8ClampedArray(width * height * 4).fill(255);
    const values = this.normalized ? this.normalize() : (this.array as Uint8Array);
    this.#eachChannel((at, scale, mean, std, pixel, channel) => {
      const value = values[at] ?? 0;
      const shade = this.normalized ? (value * std + mean) / scale : value;
      if (channels === 1) {
        data.fill(shade, pixel * 4, pixel * 4 + 3);
      } else {
        data[pixel * 4 + (this.color === "BGR" ? 2 - channel : channel)] = shade;
      }
    });
    return { width, height, data };
  }

  /** Draws the picture that the model sees to a canvas, which gets the tensor's size. */
  draw(canvas: CanvasLike): void {
    const { width, height, data } = this.toRGBA();
    const context = canvas.getContext("2d");
    const { ImageData } = globalThis as { ImageData?: new (d: object, w: number, h: number) => never };
    if (context === null || ImageData === undefined) {
      throw new CvfeederError(
        "draw() needs a canvas with a 2d context, and ImageData, as browsers have them:" +
          " toRGBA() returns the pixels anywhere",
      );
    }
    canvas.width = width;
    canvas.height = height;
    context.putImageData(new ImageData(data, width, height), 0, 0);
  }

  #view(): TensorArray {
    if (this.datatype === "UINT8") {
      return this.payload;
    }
    if (this.datatype === "INT8") {
      return new Int8Array(this.payload.buffer, this.payload.byteOffset, this.payload.byteLength);
    }
    if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
      throw new CvfeederError("this machine is big-endian: read payload with a DataView");
    }
    const size = SIZES[this.datatype];
    // A typed array may begin only at a multiple of its elements' size, and a payload begins
    // wherever the headers before it end. (The slice of Node's Buffer would not copy.)
    const aligned = this.payload.byteOffset % size === 0;
    const { buffer, byteOffset, byteLength } = aligned ? this.payload : new Uint8Array(this.payload);
    const kind = { FP32: Float32Array, FP16: halfConstructor(), BF16: Uint16Array }[this.datatype];
    return new kind(buffer, byteOffset, byteLength / size);
  }

  /** Calls visit with the place of each element, and the numbers of its channel. */
  #eachChannel(
    visit: (at: number, scale: number, mean: number, std: number, pixel: number, channel: number) => void,
  ): void {
    const pixels = this.width * this.height;
    const { channels, scale } = this;
    const [step, stride] = this.layout === "NCHW" ? [1, pixels] : [channels, 1];
    for (let channel = 0; channel < channels; channel++) {
      const mean = this.mean[channel] ?? 0;
      const std = this.std[channel] ?? 1;
      for (let pixel = 0; pixel < pixels; pixel++) {
        visit(channel * stride + pixel * step, scale, mean, std, pixel, channel);
      }
    }
  }
}

/** An HTMLCanvasElement or OffscreenCanvas. */
export interface CanvasLike {
  width: number;
  height: number;
  getContext(kind: "2d"): { putImageData(image: never, x: number, y: number): void } | null;
}

/** The tensor of a message; throws InvalidMessageError. */
export function parseTensor(subject: string, headers: HeaderRecord, data: Uint8Array): Tensor {
  const h = new Headers(headers);
  const color = h.oneOf("Cvf-Color", "RGB", "BGR", "GRAY");
  const channels = color === "GRAY" ? 1 : 3;
  const [width = 0, height = 0] = h.counts("Cvf-Source", "x", 2);
  const fields: TensorFields = {
    stream: h.text("Cvf-Stream"),
    output: h.text("Cvf-Output"),
    time: h.time("Cvf-Time"),
    capture: h.time("Cvf-Capture"),
    datatype: h.oneOf("Cvf-Dtype", ...DATATYPES),
    shape: shapeOf(h),
    layout: h.oneOf("Cvf-Layout", "NCHW", "NHWC"),
    color,
    source: [width, height],
    affine: h.floats("Cvf-Affine", 6),
    scale: h.nonzero("Cvf-Scale", 1)[0] ?? 1,
    mean: h.floats("Cvf-Mean", channels),
    std: h.nonzero("Cvf-Std", channels),
    normalized: !h.has("Cvf-Normalized") || h.oneOf("Cvf-Normalized", "true", "false") === "true",
    quantScale: h.has("Cvf-Quant-Scale") ? (h.nonzero("Cvf-Quant-Scale", 1)[0] ?? 0) : 0,
    quantZeroPoint: h.has("Cvf-Quant-Scale") ? zeroPoint(h) : 0,
    spec: h.text("Cvf-Spec"),
    id: h.has("Nats-Msg-Id") ? h.text("Nats-Msg-Id") : "",
    traceparent: traceparent(headers),
    late: h.has("Cvf-Late"),
    since: h.has("Cvf-Since") ? h.time("Cvf-Since") : undefined,
    burst: h.has("Cvf-Burst") ? h.text("Cvf-Burst") : "",
  };
  check(fields, channels, data.length);
  return new Tensor(subject, fields, data);
}

function zeroPoint(h: Headers): number {
  const value = h.floats("Cvf-Quant-Zero-Point", 1)[0] ?? 0;
  if (!Number.isInteger(value) || Math.abs(value) > 255) {
    throw new InvalidMessageError(`header Cvf-Quant-Zero-Point: ${value} is not one of 8 bits`);
  }
  return value;
}

/** The size in bytes of the whole tensor, as a message's or a part's headers say. */
export function announcedSize(headers: HeaderRecord): number {
  const h = new Headers(headers);
  return sizeOf(shapeOf(h), h.oneOf("Cvf-Dtype", ...DATATYPES));
}

function shapeOf(h: Headers): [number, number, number, number] {
  const [n = 0, a = 0, b = 0, c = 0] = h.counts("Cvf-Shape", ",", 4);
  return [n, a, b, c];
}

function sizeOf(shape: readonly number[], datatype: Datatype): number {
  const size = shape.reduce((product, n) => product * n, SIZES[datatype]);
  if (size > MAX_BYTES) {
    throw new InvalidMessageError(`header Cvf-Shape: ${shape.join()} of ${datatype} is too large`);
  }
  return size;
}

/** Checks what takes more than one header. */
function check(t: TensorFields, channels: number, bytes: number): void {
  const c = t.layout === "NCHW" ? t.shape[1] : t.shape[3];
  if (t.shape[0] !== 1 || c !== channels) {
    throw new InvalidMessageError(
      `header Cvf-Shape: ${t.shape.join()} is not one picture in ${t.color} and ${t.layout}`,
    );
  }
  if (t.quantScale < 0 || (t.quantScale !== 0 && SIZES[t.datatype] !== 1)) {
    throw new InvalidMessageError("header Cvf-Quant-Scale: not a positive number for elements of 8 bits");
  }
  const size = sizeOf(t.shape, t.datatype);
  if (bytes !== size) {
    throw new InvalidMessageError(
      `the payload has ${bytes} bytes, but ${t.shape.join()} of ${t.datatype} needs ${size}`,
    );
  }
}

function clamp(value: number, limit: number): number {
  return Math.min(Math.max(value, 0), limit);
}

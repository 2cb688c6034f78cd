import { DATATYPES, SIZES, type Datatype } from "./datatype.js";
import { Delivered } from "./delivered.js";
import { CvfeederError, InvalidMessageError } from "./errors.js";
import { bfloat16sToFloats, halfConstructor, halvesToFloats, type HalfArray } from "./float16.js";
import {
  CONTENT_TYPES,
  LAYOUTS,
  MAX_PICTURES,
  framesOf,
  mapsOf,
  rowsOf,
  sourcesOf,
  type Missing,
} from "./forms.js";
import { MAX_BYTES, Headers, traceparent, type HeaderRecord } from "./headers.js";
import { qualityOf, type Quality } from "./quality.js";
import { parseRectification, rectifiedToSource, type Rectification } from "./rectification.js";

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
  /** How good the camera's pictures are, if that is known. */
  readonly quality?: Quality | undefined;
  /** The message's identity, the same on every attempt. */
  readonly id: string;
  /** The W3C trace context of its publication, "" if it is not traced. */
  readonly traceparent: string;
  readonly datatype: Datatype;
  /** NCTHW, NTCHW or NTHWC of a clip of T frames, HWC of an encoded picture. */
  readonly layout: Layout;
  /**
   * [N, C, H, W] for NCHW; H and W in pixels. N is 1, or how many tiles the picture was cut
   * into, or how many cameras the batch has.
   */
  readonly shape: readonly number[];
  /** The order of the C channels, 3 or 1. */
  readonly color: "RGB" | "BGR" | "GRAY";
  /**
   * Of each of the N pictures: width and height in pixels of the camera's picture before
   * preprocessing, [0, 0] if a camera of a batch had no frame.
   */
  readonly sources: readonly (readonly [number, number])[];
  /**
   * Of each of the N pictures [a, b, c, d, e, f]: x_source = a*x + b*y + c,
   * y_source = d*x + e*y + f, in pixels, with the origin at the top-left corner of the
   * top-left pixel.
   */
  readonly affines: readonly (readonly number[])[];
  /** Where the stream has a lens: sources and affines are about the rectified picture, and this leads on. */
  readonly rectification?: Rectification | undefined;
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
  /** Of a clip, the time of each frame; `time` is that of the last one. Otherwise empty. */
  readonly slots: readonly Date[];
  /** Of each frame of a clip "", or what is in its place if there was none. */
  readonly missing: readonly Missing[];
  /** Of a batch across cameras, whose name is `stream`, the camera of each row. Otherwise empty. */
  readonly streams: readonly string[];
  /** Whether each camera of a batch had a frame; a row without one is padding. */
  readonly present: readonly boolean[];
  /** The type of the payload if it is an encoded picture, "" if it has elements. */
  readonly contentType: ContentType;
}

/** What the elements of a tensor may be in. */
export type TensorArray = Float32Array | HalfArray | Uint16Array | Uint8Array | Int8Array;

/** The order of the axes. */
export type Layout = (typeof LAYOUTS)[number] | "HWC";

/** The types of encoded pictures, and "" for elements. */
export type ContentType = (typeof CONTENT_TYPES)[number] | "";

/** Which of several pictures: a tile, or a row of a batch across cameras. */
export interface Which {
  /** The index of a tile, or of a row. Needed if there are several. */
  readonly tile?: number;
}

/**
 * One preprocessed picture of one camera, and what is known about it. It can also be the tiles
 * of a picture, a clip, one picture of each of several cameras, or an encoded picture.
 */
export class Tensor extends Delivered implements TensorFields {
  declare readonly stream: string;
  declare readonly output: string;
  declare readonly time: Date;
  declare readonly capture: Date;
  declare readonly late: boolean;
  declare readonly since?: Date | undefined;
  declare readonly burst: string;
  declare readonly quality?: Quality | undefined;
  declare readonly id: string;
  declare readonly traceparent: string;
  declare readonly datatype: Datatype;
  declare readonly layout: Layout;
  declare readonly shape: readonly number[];
  declare readonly color: "RGB" | "BGR" | "GRAY";
  declare readonly sources: readonly (readonly [number, number])[];
  declare readonly affines: readonly (readonly number[])[];
  declare readonly rectification?: Rectification | undefined;
  declare readonly scale: number;
  declare readonly mean: readonly number[];
  declare readonly std: readonly number[];
  declare readonly normalized: boolean;
  declare readonly quantScale: number;
  declare readonly quantZeroPoint: number;
  declare readonly spec: string;
  declare readonly slots: readonly Date[];
  declare readonly missing: readonly Missing[];
  declare readonly streams: readonly string[];
  declare readonly present: readonly boolean[];
  declare readonly contentType: ContentType;
  readonly kind = "tensor";
  #array: TensorArray | undefined;

  /** @internal */
  constructor(
    subject: string,
    fields: TensorFields,
    /**
     * The bytes of the elements, little-endian, in C order, for Triton or KServe as they are; or
     * the encoded picture.
     */
    readonly payload: Uint8Array,
  ) {
    super(subject);
    Object.assign(this, fields);
  }

  /** In pixels. */
  get width(): number {
    return this.#side("W");
  }

  /** In pixels. */
  get height(): number {
    return this.#side("H");
  }

  /** How many pictures there are: 1, or N tiles, or rows of a batch across cameras. */
  get pictures(): number {
    return this.#side("N");
  }

  /** How many frames each picture has: 1, or those of a clip. */
  get frames(): number {
    return this.#side("T");
  }

  /** The one of `sources`; it throws if each of several pictures has its own. */
  get source(): readonly [number, number] {
    return this.#theOne(this.streams.length > 0 ? this.sources : this.sources.slice(0, 1), "sources");
  }

  /** The one of `affines`; it throws if each of several pictures has its own. */
  get affine(): readonly number[] {
    return this.#theOne(this.affines, "affines");
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
   *
   * It throws for an encoded picture.
   */
  get array(): TensorArray {
    if (this.contentType !== "") {
      throw new CvfeederError(`${this.subject} has encoded pictures, not elements: toBlob() has them`);
    }
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

  /**
   * Maps a point in the tensor to the camera's picture. With clip, it is kept within it. Of
   * several pictures, tile says in which of them the point is.
   */
  pointToSource([x, y]: Point, { clip = false, tile }: Which & { clip?: boolean } = {}): [number, number] {
    const i = this.#which(tile);
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = this.affines[i] ?? [];
    const { rectification } = this;
    const [width, height] = rectification?.source ?? this.sources[i] ?? [0, 0];
    let at: [number, number] = [a * x + b * y + c, d * x + e * y + f];
    if (rectification) {
      at = rectifiedToSource(rectification, ...at);
    }
    return clip ? [clamp(at[0], width), clamp(at[1], height)] : at;
  }

  /**
   * Maps a box in the tensor to the camera's picture. It stays upright: it is the smallest
   * box that holds the four mapped corners. With clip, it is kept within the picture. Of
   * several pictures, tile says in which of them the box is.
   */
  boxToSource(
    [x1, y1, x2, y2]: Box,
    options: Which & { clip?: boolean } = {},
  ): [number, number, number, number] {
    const corners: Point[] = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
    const mapped = corners.map((corner) => this.pointToSource(corner, options));
    const xs = mapped.map(([x]) => x);
    const ys = mapped.map(([, y]) => y);
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  }

  /**
   * Returns the picture that the model sees, with the normalization undone: RGBA, row by row. Of
   * several pictures, tile says which one; of a clip, frame does.
   */
  toRGBA({ tile, frame = 0 }: Which & { frame?: number } = {}): {
    width: number;
    height: number;
    data: Uint8ClampedArray<ArrayBuffer>;
  } {
    const { width, height, channels } = this;
    const data = new Uint8ClampedArray(width * height * 4).fill(255);
    const values = this.normalized ? this.normalize() : (this.array as Uint8Array);
    const wanted = this.#which(tile) * this.frames + frame;
    this.#eachChannel((at, scale, mean, std, pixel, channel, picture) => {
      if (picture !== wanted) {
        return;
      }
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

  /** An encoded picture as a Blob, for createImageBitmap() or an object URL. */
  toBlob(): Blob {
    if (this.contentType === "") {
      throw new CvfeederError(`${this.subject} has elements, not encoded pictures: toRGBA() returns pixels`);
    }
    return new Blob([new Uint8Array(this.payload)], { type: this.contentType });
  }

  /** Draws what `toRGBA` returns to a canvas, which gets the picture's size. */
  draw(canvas: CanvasLike, which: Which & { frame?: number } = {}): void {
    const { width, height, data } = this.toRGBA(which);
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

  /** The length of an axis, 1 if the layout does not have it. */
  #side(axis: string): number {
    return this.shape[this.layout.indexOf(axis)] ?? 1;
  }

  #theOne<T>(all: readonly T[], name: string): T {
    const [first] = all;
    if (first === undefined || all.length > 1) {
      throw new CvfeederError(`each of the ${all.length} pictures has its own: ${name} has them`);
    }
    return first;
  }

  /** The index of a picture. */
  #which(tile: number | undefined): number {
    const { pictures } = this;
    if (tile === undefined && pictures > 1) {
      throw new CvfeederError(`the tensor has ${pictures} pictures: pass tile, which is one of them`);
    }
    if (tile !== undefined && !(Number.isInteger(tile) && tile >= 0 && tile < pictures)) {
      throw new CvfeederError(`the tensor has no picture ${tile}: it has ${pictures}`);
    }
    return tile ?? 0;
  }

  /**
   * Calls visit with the place of each element, the numbers of its channel, and of which pixel of
   * which picture it is, where each frame of a clip counts as a picture.
   */
  #eachChannel(
    visit: (
      at: number,
      scale: number,
      mean: number,
      std: number,
      pixel: number,
      channel: number,
      picture: number,
    ) => void,
  ): void {
    const { channels, scale, frames } = this;
    const pixels = this.width * this.height;
    const strides = new Map<string, number>();
    let stride = 1;
    for (let i = this.shape.length - 1; i >= 0; i--) {
      strides.set(this.layout.charAt(i), stride);
      stride *= this.shape[i] ?? 1;
    }
    const of = (axis: string): number => strides.get(axis) ?? 0;
    for (let picture = 0; picture < this.pictures * frames; picture++) {
      const first = Math.floor(picture / frames) * of("N") + (picture % frames) * of("T");
      for (let channel = 0; channel < channels; channel++) {
        const mean = this.mean[channel] ?? 0;
        const std = this.std[channel] ?? 1;
        for (let pixel = 0; pixel < pixels; pixel++) {
          const at = first + channel * of("C") + pixel * of("W"); // rows follow one another
          visit(at, scale, mean, std, pixel, channel, picture);
        }
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
  const encoded = h.has("Content-Type");
  const rows = encoded ? { streams: [], present: [] } : rowsOf(h);
  const affines = mapsOf(h);
  const sources = sourcesOf(h, rows);
  const fields: TensorFields = {
    stream: h.text("Cvf-Stream"),
    output: h.text("Cvf-Output"),
    time: h.time("Cvf-Time"),
    capture: h.time("Cvf-Capture"),
    affines,
    // The tiles of a picture have one source.
    sources: rows.streams.length > 0 ? sources : affines.map(() => sources[0] ?? [0, 0]),
    rectification: h.has("Cvf-Map") ? parseRectification(h.text("Cvf-Map")) : undefined,
    spec: h.text("Cvf-Spec"),
    id: h.has("Nats-Msg-Id") ? h.text("Nats-Msg-Id") : "",
    traceparent: traceparent(headers),
    late: h.has("Cvf-Late"),
    since: h.has("Cvf-Since") ? h.time("Cvf-Since") : undefined,
    burst: h.has("Cvf-Burst") ? h.text("Cvf-Burst") : "",
    quality: qualityOf(h),
    ...rows,
    ...(encoded ? pictureOf(h, data.length) : elementsOf(h)),
  };
  check(fields, data.length);
  return new Tensor(subject, fields, data);
}

type Form = Pick<
  TensorFields,
  | ("contentType" | "datatype" | "shape" | "layout" | "color" | "scale" | "mean" | "std" | "normalized")
  | ("slots" | "missing" | "quantScale" | "quantZeroPoint")
>;

/** What the headers say of elements. */
function elementsOf(h: Headers): Form {
  const layout = h.oneOf("Cvf-Layout", ...LAYOUTS);
  const color = h.oneOf("Cvf-Color", "RGB", "BGR", "GRAY");
  return {
    contentType: "",
    datatype: h.oneOf("Cvf-Dtype", ...DATATYPES),
    shape: h.counts("Cvf-Shape", ",", layout.length),
    layout,
    color,
    scale: h.nonzero("Cvf-Scale", 1)[0] ?? 1,
    mean: h.floats("Cvf-Mean", channelsOf(color)),
    std: h.nonzero("Cvf-Std", channelsOf(color)),
    normalized: !h.has("Cvf-Normalized") || h.oneOf("Cvf-Normalized", "true", "false") === "true",
    quantScale: h.has("Cvf-Quant-Scale") ? (h.nonzero("Cvf-Quant-Scale", 1)[0] ?? 0) : 0,
    quantZeroPoint: h.has("Cvf-Quant-Scale") ? zeroPoint(h) : 0,
    ...framesOf(h, layout),
  };
}

/** What the headers say of an encoded picture of so many bytes. */
function pictureOf(h: Headers, bytes: number): Form {
  const length = h.count("Content-Length");
  if (length !== bytes) {
    throw new InvalidMessageError(`header Content-Length: ${length}, but the payload has ${bytes} bytes`);
  }
  const color = h.oneOf("Cvf-Color", "RGB", "GRAY");
  return {
    contentType: h.oneOf("Content-Type", ...CONTENT_TYPES),
    datatype: "UINT8",
    shape: h.counts("Cvf-Shape", ",", 3),
    layout: "HWC",
    color,
    scale: 1,
    mean: Array<number>(channelsOf(color)).fill(0),
    std: Array<number>(channelsOf(color)).fill(1),
    normalized: false,
    quantScale: 0,
    quantZeroPoint: 0,
    slots: [],
    missing: [],
  };
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
  if (h.has("Content-Type")) {
    return h.count("Content-Length");
  }
  const { length } = h.oneOf("Cvf-Layout", ...LAYOUTS);
  return sizeOf(h.counts("Cvf-Shape", ",", length), h.oneOf("Cvf-Dtype", ...DATATYPES));
}

function channelsOf(color: TensorFields["color"]): number {
  return color === "GRAY" ? 1 : 3;
}

function sizeOf(shape: readonly number[], datatype: Datatype): number {
  const size = shape.reduce((product, n) => product * n, SIZES[datatype]);
  if (size > MAX_BYTES) {
    throw new InvalidMessageError(`header Cvf-Shape: ${shape.join()} of ${datatype} is too large`);
  }
  return size;
}

/** Checks what takes more than one header. */
function check(t: TensorFields, bytes: number): void {
  const side = (axis: string, otherwise = 1): number => t.shape[t.layout.indexOf(axis)] ?? otherwise;
  const pictures = side("N");
  const atMost = t.layout.includes("T") ? 1 : MAX_PICTURES;
  if (side("C") !== channelsOf(t.color) || pictures > atMost) {
    throw new InvalidMessageError(`header Cvf-Shape: ${t.shape.join()} is not ${t.color} in ${t.layout}`);
  }
  if (t.affines.length !== pictures) {
    throw new InvalidMessageError(`header Cvf-Affine: not one map for each of ${pictures} picture(s)`);
  }
  if (t.streams.length > 0 && t.streams.length !== pictures) {
    throw new InvalidMessageError(`header Cvf-Batch: not one stream for each of ${pictures} row(s)`);
  }
  if (t.slots.length !== side("T", 0)) {
    throw new InvalidMessageError(`header Cvf-Clip: not one time for each frame of ${t.shape.join()}`);
  }
  if (t.quantScale < 0 || (t.quantScale !== 0 && SIZES[t.datatype] !== 1)) {
    throw new InvalidMessageError("header Cvf-Quant-Scale: not a positive number for elements of 8 bits");
  }
  const size = sizeOf(t.shape, t.datatype);
  if (t.contentType === "" && bytes !== size) {
    throw new InvalidMessageError(
      `the payload has ${bytes} bytes, but ${t.shape.join()} of ${t.datatype} needs ${size}`,
    );
  }
}

function clamp(value: number, limit: number): number {
  return Math.min(Math.max(value, 0), limit);
}

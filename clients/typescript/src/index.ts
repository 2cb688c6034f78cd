/**
 * Reads the tensors that cvfeeder publishes over NATS.
 *
 *     import { subscribe } from "cvfeeder";
 *
 *     for await (const t of subscribe("cvf.t.>", { servers: "nats://127.0.0.1:4222", newest: true })) {
 *       const boxes = await model(t.normalize(), t.shape);
 *       console.log(t.stream, t.time, boxes.map((box) => t.boxToSource(box)));
 *     }
 *
 * Every wait ends: with what it is for, with ReadTimeoutError if it was given a timeout, with
 * ClosedError if the reader is closed meanwhile, or with the CvfeederError in the way.
 *
 * @module
 */
export { parse } from "./decoder.js";
export { Delivered } from "./delivered.js";
export type { Datatype } from "./datatype.js";
export * from "./errors.js";
export { bfloat16sToFloats, fromHalf, halvesToFloats, type HalfArray } from "./float16.js";
export { Frames, type FrameRequest } from "./frames.js";
export type { Missing } from "./forms.js";
export { Gap, type GapFields } from "./gap.js";
export type { HeaderRecord } from "./headers.js";
export type { ConnectOptions, ReadOptions } from "./options.js";
export { pull, Pull, type PullOptions } from "./pull.js";
export { Reader, type Wait } from "./reader.js";
export { latest, subscribe, subscribeGaps, Subscription, type Items, type SubscribeOptions } from "./subscribe.js";
export { type Quality } from "./quality.js";
export { type Rectification } from "./rectification.js";
export {
  Tensor,
  type Box,
  type CanvasLike,
  type ContentType,
  type Layout,
  type Point,
  type TensorArray,
  type TensorFields,
  type Which,
} from "./tensor.js";

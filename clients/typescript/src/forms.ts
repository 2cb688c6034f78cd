import { MAX_TEXT, parseTime, type Headers } from "./headers.js";

export const MAX_PICTURES = 1 << 10; // in a tensor
export const MAX_FRAMES = 1 << 10; // in a clip

export const LAYOUTS = ["NCHW", "NHWC", "NCTHW", "NTCHW", "NTHWC"] as const;
export const CONTENT_TYPES = ["image/jpeg", "image/png", "image/webp"] as const;

/** How what is in place of a missing frame of a clip was made; "" if the frame was there. */
export type Missing = "" | "repeat" | "black";

/** The frames of a clip. */
export interface Frames {
  readonly slots: readonly Date[];
  readonly missing: readonly Missing[];
}

/** The rows of a batch across cameras. */
export interface Rows {
  readonly streams: readonly string[];
  readonly present: readonly boolean[];
}

/** The map of each picture. */
export function mapsOf(h: Headers): number[][] {
  return several(h, "Cvf-Affine", ";", MAX_PICTURES).map((text) => h.floatsOf("Cvf-Affine", text, 6));
}

/** The frames of a clip, none if the layout is not that of one. */
export function framesOf(h: Headers, layout: string): Frames {
  const slots: Date[] = [];
  const missing: Missing[] = [];
  if (!layout.includes("T")) {
    return { slots, missing };
  }
  for (const text of several(h, "Cvf-Clip", ",", MAX_FRAMES)) {
    const [at = "", ...filled] = text.split("!");
    const how = filled.join("!");
    const slot = parseTime(at);
    if (slot === undefined || (filled.length > 0 && how !== "repeat" && how !== "black")) {
      throw h.wrong("Cvf-Clip", text, "not a time like 2026-01-02T03:04:05.200Z, or one with !repeat or !black");
    }
    slots.push(slot);
    missing.push(how as Missing);
  }
  return { slots, missing };
}

/** The rows of a batch across cameras, none if it is none. */
export function rowsOf(h: Headers): Rows {
  if (!h.has("Cvf-Batch")) {
    return { streams: [], present: [] };
  }
  const texts = several(h, "Cvf-Batch", ",", MAX_PICTURES);
  const streams = texts.map((text) => {
    const stream = unescaped(text.startsWith("!") ? text.slice(1) : text);
    if (stream === "" || stream.length > MAX_TEXT) {
      throw h.wrong("Cvf-Batch", text, "not the name of a stream");
    }
    return stream;
  });
  return { streams, present: texts.map((text) => !text.startsWith("!")) };
}

/** The size of the picture of each row of a batch, otherwise that of the one picture. */
export function sourcesOf(h: Headers, { streams, present }: Rows): [number, number][] {
  if (streams.length === 0) {
    return [size(h, h.text("Cvf-Source"))];
  }
  const texts = several(h, "Cvf-Source", ";", MAX_PICTURES);
  if (texts.length !== streams.length) {
    throw h.wrong("Cvf-Source", texts.join(";"), `not ${streams.length} sizes`);
  }
  return texts.map((text, i) => (text === "0x0" && present[i] === false ? [0, 0] : size(h, text)));
}

function size(h: Headers, text: string): [number, number] {
  const [width = 0, height = 0] = h.countsOf("Cvf-Source", text, "x", 2);
  return [width, height];
}

/** "" for what is escaped wrongly. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function several(h: Headers, name: string, separator: string, atMost: number): string[] {
  const value = h.text(name, (atMost * MAX_TEXT) / 4);
  const texts = value.split(separator);
  if (texts.length > atMost) {
    throw h.wrong(name, value, `more than ${atMost} values`);
  }
  return texts;
}

import { InvalidMessageError } from "./errors.js";
import type { Headers } from "./headers.js";

const NUMBER = String.raw`\d{1,9}(?:\.\d{1,9})?`;
const MAYBE = `(?:-|${NUMBER})`;
const NAME = "[a-z_]{1,30}";
// A later version may have more numbers, and other conditions.
const TEXT = new RegExp(
  `^(?:${NUMBER},){4}(?:${MAYBE},){2}${NUMBER}(?:,${MAYBE}){0,30}(?:;${NAME}(?:,${NAME}){0,30})?$`,
);

/**
 * How good a camera's picture is: the tensor's, or the last one before it that was looked at.
 *
 * A level is a step of brightness, 0 to 255. What counts are the means of blocks of 8x8 pixels of
 * the camera's whole picture, whatever part of it the tensor shows.
 */
export interface Quality {
  /** The mean brightness, in levels. */
  readonly mean: number;
  /** The standard deviation of the brightness, in levels. */
  readonly contrast: number;
  /** The variance of the Laplacian, in levels squared. */
  readonly sharpness: number;
  /** The share of blocks at either end of the brightness, 0 to 1. */
  readonly clipped: number;
  /** By how much it differs from the picture looked at before it, in levels, if there is one. */
  readonly difference: number | undefined;
  /** How much it shows what the camera usually does, 0 to 1; undefined while that is learned. */
  readonly similarity: number | undefined;
  /** By how many seconds it is earlier than the tensor's. */
  readonly age: number;
  /**
   * What is wrong, worst first: black, covered, frozen, turned, blurred, flickering. It is empty
   * if the camera sees well.
   */
  readonly conditions: readonly string[];
}

/** What the header says, if it is there; throws InvalidMessageError. */
export function qualityOf(h: Headers): Quality | undefined {
  const name = "Cvf-Quality";
  if (!h.has(name)) {
    return undefined;
  }
  const text = h.text(name);
  if (!TEXT.test(text)) {
    throw new InvalidMessageError(
      `header ${name}: ${JSON.stringify(text.slice(0, 60))} is not seven numbers and conditions`,
    );
  }
  const [numbers = "", conditions] = text.split(";");
  const values = numbers.split(",").map((v) => (v === "-" ? undefined : Number(v)));
  const [mean = 0, contrast = 0, sharpness = 0, clipped = 0, difference, similarity, age = 0] =
    values;
  return {
    mean,
    contrast,
    sharpness,
    clipped,
    difference,
    similarity,
    age,
    conditions: conditions?.split(",") ?? [],
  };
}

import { InvalidMessageError } from "./errors.js";

/** How a camera's pictures were rectified, as the header Cvf-Map tells it. */
export interface Rectification {
  /** Pinhole and fisheye are OpenCV's models. */
  readonly model: "pinhole" | "fisheye" | "homography";
  /** Width and height of the camera's picture in pixels. */
  readonly source: readonly [number, number];
  /** Width and height of the rectified picture in pixels. */
  readonly size: readonly [number, number];
  /**
   * The camera matrix and that of the rectified picture, each as fx, fy, cx and cy, and the
   * distortion; of a homography the 3x3 matrix back to the camera's picture, by rows.
   */
  readonly numbers: readonly (readonly number[])[];
}

const LENGTHS: Record<string, readonly string[]> = {
  pinhole: ["4,4,4", "4,4,5", "4,4,8"],
  fisheye: ["4,4,4"],
  homography: ["9"],
};

/** What the header says; throws InvalidMessageError. */
export function parseRectification(text: string): Rectification {
  const [model = "", source = "", size = "", ...rest] = text.split(";");
  const numbers = rest.map((part) => part.split(",").map((n) => (n === "" ? NaN : Number(n))));
  const lengths = numbers.map((part) => part.length).join();
  const focal = model === "homography" ? [1] : (numbers[1] ?? []).slice(0, 2);
  const sides = [source, size].map((side) => side.split("x").map(Number));
  const [[w = 0, h = 0, ...a] = [], [x = 0, y = 0, ...b] = []] = sides;
  if (
    !LENGTHS[model]?.includes(lengths) ||
    !numbers.flat().every(Number.isFinite) ||
    focal.includes(0) ||
    ![w, h, x, y].every((side) => Number.isInteger(side) && side > 0) ||
    a.length + b.length > 0
  ) {
    throw new InvalidMessageError(`header Cvf-Map: ${text.slice(0, 80)} is no rectification`);
  }
  return { model: model as Rectification["model"], source: [w, h], size: [x, y], numbers };
}

/** Maps a point of the rectified picture to the camera's; NaN for what has no place there. */
export function rectifiedToSource(r: Rectification, px: number, py: number): [number, number] {
  const [x, y] = [px - 0.5, py - 0.5]; // OpenCV counts from the middles of pixels
  if (r.model === "homography") {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0] = r.numbers[0] ?? [];
    const w = g * x + h * y + i || NaN;
    return [(a * x + b * y + c) / w + 0.5, (d * x + e * y + f) / w + 0.5];
  }
  const [fx = 0, fy = 0, cx = 0, cy = 0] = r.numbers[0] ?? [];
  const [nx = 1, ny = 1, mx = 0, my = 0] = r.numbers[1] ?? [];
  const [u, v] = [(x - mx) / nx, (y - my) / ny];
  const [xd, yd] = (r.model === "fisheye" ? bendFisheye : bendPinhole)(u, v, r.numbers[2] ?? []);
  return [fx * xd + cx + 0.5, fy * yd + cy + 0.5];
}

function bendFisheye(x: number, y: number, k: readonly number[]): [number, number] {
  const [k1 = 0, k2 = 0, k3 = 0, k4 = 0] = k;
  const r = Math.hypot(x, y);
  const t = Math.atan(r);
  const s = t * t;
  const scale = r === 0 ? 1 : (t * (1 + s * (k1 + s * (k2 + s * (k3 + s * k4))))) / r;
  return [x * scale, y * scale];
}

function bendPinhole(x: number, y: number, k: readonly number[]): [number, number] {
  const [k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0, k4 = 0, k5 = 0, k6 = 0] = k;
  const s = x * x + y * y;
  const radial = (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)));
  return [
    x * radial + 2 * p1 * x * y + p2 * (s + 2 * x * x),
    y * radial + p1 * (s + 2 * y * y) + 2 * p2 * x * y,
  ];
}

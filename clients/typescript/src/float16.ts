/** Float16Array where the engine and the TypeScript library have it. */
type NativeHalves = typeof globalThis extends { Float16Array: new (...args: never[]) => infer T }
  ? T
  : never;

/** Half-precision numbers: a Float16Array if the engine has it, otherwise their bits. */
export type HalfArray = NativeHalves | Uint16Array;

type HalfConstructor = new (buffer: ArrayBufferLike, offset: number, length: number) => HalfArray;

/** The engine's Float16Array, or else Uint16Array. */
export function halfConstructor(): HalfConstructor {
  const { Float16Array } = globalThis as { Float16Array?: HalfConstructor };
  return Float16Array ?? Uint16Array;
}

/** The number that 16 bits of IEEE 754 half precision say. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) {
    return sign * fraction * 2 ** -24;
  }
  if (exponent === 0x1f) {
    return fraction === 0 ? sign * Infinity : NaN;
  }
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Half-precision numbers in single precision, which holds them exactly. */
export function halvesToFloats(halves: HalfArray): Float32Array {
  if (!(halves instanceof Uint16Array)) {
    return new Float32Array(halves as ArrayLike<number>);
  }
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    floats[i] = fromHalf(halves[i] ?? 0);
  }
  return floats;
}

/** Numbers of bfloat16, given by their bits, in single precision, of which they are the upper half. */
export function bfloat16sToFloats(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (half) => half * 0x10000).buffer);
}

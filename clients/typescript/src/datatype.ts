/** The bytes of an element of each type. A test compares them with clients/conformance/dtypes.json. */
export const SIZES = { FP32: 4, FP16: 2, BF16: 2, UINT8: 1, INT8: 1 } as const;

/** The type of a tensor's elements, as the Open Inference Protocol names it. */
export type Datatype = keyof typeof SIZES;

/** All types. */
export const DATATYPES = Object.keys(SIZES) as readonly Datatype[];

/** The values that canonical CBOR carries. Pure, types only. Source: docs/spec/record.md §1. */

/** A number is an integer when it is integral and safe, otherwise a float; a bigint is always an integer. */
export type CborValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly CborValue[]
  | CborMap;

/** Decoded maps have no prototype: "__proto__" and "constructor" are keys like any other. */
export type CborMap = { readonly [key: string]: CborValue };

/** Values of COSE headers, whose maps also have integer keys. */
export type HeaderValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly HeaderValue[]
  | HeaderMap;

export interface HeaderMap extends ReadonlyMap<number | bigint | string, HeaderValue> {}

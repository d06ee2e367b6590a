/**
 * Deep, lasting freezing of plain data, and the way back. Pure. The data is a tree, of bounded depth by its type.
 */

/** Bytes nobody can change: `Object.freeze` refuses typed arrays, so they stay inside and only copies come out. */
export class FrozenBytes<B extends Uint8Array> {
  readonly #kept: B;
  readonly byteLength: number;

  constructor(bytes: B) {
    this.#kept = Uint8Array.from(bytes) as B;
    this.byteLength = bytes.length;
    Object.freeze(this);
  }

  copy(): B {
    return Uint8Array.from(this.#kept) as B;
  }
}

export type Frozen<T> = T extends Uint8Array
  ? FrozenBytes<T>
  : T extends string | number | bigint | boolean | null
    ? T
    : T extends readonly (infer Element)[]
      ? readonly Frozen<Element>[]
      : { readonly [Key in keyof T]: Frozen<T[Key]> };

/** Defined where assigning would set a prototype, so that even a key called "__proto__" stays a key. */
const mapValues = (value: object, change: (part: unknown) => unknown): object => {
  const mapped: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(value)) {
    if (key === "__proto__") Object.defineProperty(mapped, key, { value: change(part), enumerable: true });
    else mapped[key] = change(part);
  }
  return mapped;
};

const freezeUnknown = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return new FrozenBytes(value);
  if (Array.isArray(value)) return Object.freeze(value.map(freezeUnknown));
  return Object.freeze(mapValues(value, freezeUnknown));
};

const thawUnknown = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof FrozenBytes) return value.copy();
  if (Array.isArray(value)) return value.map(thawUnknown);
  return mapValues(value, thawUnknown);
};

/** @returns a frozen copy that shares nothing with `value`. */
export const freezeDeep = <T>(value: T): Frozen<T> => freezeUnknown(value) as Frozen<T>;

/** @returns a plain copy that shares nothing with `frozen`. */
export const thawDeep = <T>(frozen: Frozen<T>): T => thawUnknown(frozen) as T;

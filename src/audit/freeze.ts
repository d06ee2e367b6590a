/** Deep freezing of plain data. Pure. The data is a tree, of bounded depth by its type. */

/** Immutable bytes: `Object.freeze` rejects typed arrays, so they are private and only copies are returned. */
export class FrozenBytes<B extends Uint8Array> {
  readonly #kept: B;
  readonly byteLength: number;

  constructor(bytes: B) {
    this.#kept = new Uint8Array(bytes) as Uint8Array as B;
    this.byteLength = bytes.length;
    Object.freeze(this);
  }

  copy(): B {
    return new Uint8Array(this.#kept) as Uint8Array as B;
  }
}

export type Frozen<T> = T extends Uint8Array
  ? FrozenBytes<T>
  : T extends string | number | bigint | boolean | null
    ? T
    : T extends readonly (infer Element)[]
      ? readonly Frozen<Element>[]
      : { readonly [Key in keyof T]: Frozen<T[Key]> };

/** Uses defineProperty, so that a key "__proto__" does not set the prototype. */
const mapValues = (value: object, change: (part: unknown) => unknown): object => {
  const source = value as Readonly<Record<string, unknown>>;
  const mapped: Record<string, unknown> = {};
  for (const key of Object.keys(source)) {
    const part = change(source[key]);
    if (key === "__proto__") Object.defineProperty(mapped, key, { value: part, enumerable: true });
    else mapped[key] = part;
  }
  return mapped;
};

const freezeUnknown = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return new FrozenBytes(value);
  if (Array.isArray(value)) return Object.freeze(value.map(freezeUnknown));
  return Object.freeze(mapValues(value, freezeUnknown));
};

/** @returns a frozen copy that shares nothing with `value`. */
export const freezeDeep = <T>(value: T): Frozen<T> => freezeUnknown(value) as Frozen<T>;

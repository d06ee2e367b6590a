/** Freezing of the plain data that a chain consists of. Pure. */

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

/** @returns a frozen copy of a map of primitive values. A spread copies a key "__proto__" as a key. */
export const freezeTable = <Value extends string | number>(
  table: Readonly<Record<string, Value>>,
): Readonly<Record<string, Value>> => Object.freeze({ ...table });

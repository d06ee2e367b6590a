/**
 * The encoding of a typed value with the place of each of its items. Heads, order and containers are written apart from
 * the core's encoder.
 */
import { compareBytes, concatBytes, fromHex, utf8Encode } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { valueOfTyped, type Typed } from "./typed.ts";

export interface Item {
  readonly role: "value" | "key";
  readonly start: number;
  /** After the head: where a string's bytes or a container's items begin. */
  readonly headEnd: number;
  readonly end: number;
  /** Containers around it. */
  readonly depth: number;
  /** Among the items of its container; for a key, among its keys. */
  readonly index: number;
  /** Of an array or a map. */
  readonly entries?: number;
  readonly isMap?: boolean;
  /** No other item follows it in the whole encoding. */
  readonly isLast: boolean;
  /** The key before it in its map. */
  readonly before?: Item;
}

/** A head with its argument in `width` bytes, or the shortest. */
export const head = (major: number, argument: bigint, width?: 0 | 1 | 2 | 4 | 8): Uint8Array => {
  const shortest =
    argument < 24n ? 0 : argument < 256n ? 1 : argument < 65_536n ? 2 : argument < 2n ** 32n ? 4 : 8;
  const wide = width ?? shortest;
  if (wide === 0) return Uint8Array.of((major << 5) | Number(argument));
  const info = { 1: 24, 2: 25, 4: 26, 8: 27 }[wide];
  return Uint8Array.of((major << 5) | info, ...fromHex(argument.toString(16).padStart(2 * wide, "0")));
};

interface Place {
  readonly role: "value" | "key";
  readonly depth: number;
  readonly index: number;
  readonly before?: Item;
}

type Draft = { -readonly [Name in keyof Item]: Item[Name] };

class Layout {
  readonly items: Draft[] = [];
  readonly #parts: Uint8Array[] = [];
  #at = 0;

  bytes(): Uint8Array {
    return concatBytes(...this.#parts);
  }

  value(typed: Typed, place: Place): Draft {
    if (typed !== null && typeof typed === "object" && "array" in typed) {
      if (typed.times !== undefined) throw new Error("arrays of this size are not laid out");
      return this.#container(place, 4, typed.array.length, () => {
        for (const [index, item] of typed.array.entries()) {
          this.value(item, { role: "value", depth: place.depth + 1, index });
        }
      });
    }
    if (typed !== null && typeof typed === "object" && "map" in typed) {
      return this.#container(place, 5, typed.map.length, () => this.#entries(typed.map, place.depth + 1));
    }
    const encoded = cborEncode(valueOfTyped(typed));
    const first = encoded[0] ?? 0;
    const isString = first >>> 5 === 2 || first >>> 5 === 3;
    const headBytes = isString ? 1 + ([1, 2, 4, 8][(first & 31) - 24] ?? 0) : encoded.length;
    return this.#item(place, encoded, headBytes);
  }

  #entries(map: readonly (readonly [string, Typed])[], depth: number): void {
    const entries = map.map(([key, value]) => {
      const text = utf8Encode(key);
      return { key: concatBytes(head(3, BigInt(text.length)), text), text, value };
    });
    entries.sort((a, b) => compareBytes(a.key, b.key));
    let before: Item | undefined;
    for (const [index, { key, text, value }] of entries.entries()) {
      before = this.#item(
        { role: "key", depth, index, ...(before && { before }) },
        key,
        key.length - text.length,
      );
      this.value(value, { role: "value", depth, index });
    }
  }

  #container(place: Place, major: number, entries: number, inside: () => void): Draft {
    const bytes = head(major, BigInt(entries));
    const item = this.#item(place, bytes, bytes.length);
    item.entries = entries;
    item.isMap = major === 5;
    inside();
    item.end = this.#at;
    return item;
  }

  #item(place: Place, bytes: Uint8Array, headBytes: number): Draft {
    const start = this.#at;
    this.#parts.push(bytes);
    this.#at += bytes.length;
    const item: Draft = { ...place, start, headEnd: start + headBytes, end: this.#at, isLast: false };
    this.items.push(item);
    return item;
  }
}

/** Items in the order in which a decoder meets them. */
export const layOut = (typed: Typed): { readonly bytes: Uint8Array; readonly items: readonly Item[] } => {
  const layout = new Layout();
  layout.value(typed, { role: "value", depth: 0, index: 0 });
  const last = layout.items.at(-1);
  if (last !== undefined) last.isLast = true;
  return { bytes: layout.bytes(), items: layout.items };
};

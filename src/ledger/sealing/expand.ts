/**
 * Makes an envelope and its disclosures again from what `condense.ts` made of them. Pure. Source: docs/spec/ledger.md
 * §6. No value is longer than 1 MiB.
 */
import { parseThumbprint } from "@sigil/core/bytes";
import {
  cborDecode,
  cborEncode,
  type CborValue,
  majorArray,
  majorBytes,
  majorMap,
  majorText,
} from "@sigil/core/cbor";
import { cborBytesMax } from "@sigil/core/limits";
import { EnvelopeDraft } from "@sigil/core/record";
import { fail } from "../../errors.ts";
import {
  type CondensedPlace,
  againMax,
  argumentAt,
  bodyBegins,
  codeAgain,
  codeEmptyDigest,
  codeFirstText,
  codeTenant,
  emptyDigest,
  headBytes,
  isAt,
  isHyphenAt,
  kidBytes,
  signatureBytes,
  textItems,
  uuidBytes,
  uuidCharacters,
} from "./condensed-items.ts";

const hexDigit = (value: number): number => (value < 10 ? 0x30 + value : 0x57 + value);

const refuse = (offset: number, rule: string): never => fail({ kind: "malformedCbor", offset, rule });

/** Makes the values again, one after the other. */
class Expander {
  readonly #bytes: Uint8Array;
  readonly #tenant: Uint8Array;
  #at: number;
  #out = new Uint8Array(2048);
  #length = 0;
  #again: (readonly [start: number, end: number])[] = [];

  constructor(bytes: Uint8Array, at: number, tenant: string) {
    this.#bytes = bytes;
    this.#at = at;
    this.#tenant = cborEncode(tenant);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The next value. @throws malformedCbor. */
  value(): Uint8Array {
    this.#length = 0;
    this.#again = [];
    for (let left = 1; left > 0; left -= 1) left += this.#item();
    return this.#out.slice(0, this.#length);
  }

  /** @returns how many items are inside of it. */
  #item(): number {
    const [bytes, at] = [this.#bytes, this.#at];
    if (at >= bytes.length) return refuse(at, "ends where an item should begin");
    const initial = bytes[at] as number;
    if (initial >= codeAgain && initial < 0xf4) {
      this.#code(initial);
      return 0;
    }
    const head = headBytes(initial);
    const major = initial >> 5;
    if (head === 0 || at + head > bytes.length) return refuse(at, "has no such head");
    const argument = argumentAt(bytes, at, head);
    const isString = major === majorBytes || major === majorText;
    const isContainer = major === majorArray || major === majorMap;
    if ((isString || isContainer) && (argument < 0 || argument > bytes.length - at)) {
      return refuse(at, "is longer than what is left");
    }
    const end = at + head + (isString ? argument : 0);
    if (end > bytes.length) return refuse(at, "is longer than what is left");
    const start = this.#length;
    this.#write(bytes, at, end);
    this.#at = end;
    if (major === majorText && argument > 0) this.#remember(start);
    return isContainer ? argument * (major === majorMap ? 2 : 1) : 0;
  }

  #code(code: number): void {
    const at = this.#at;
    const start = this.#length;
    this.#at = at + 1;
    if (code >= codeFirstText) {
      const item = textItems[code - codeFirstText];
      return item === undefined ? refuse(at, "is in no table") : this.#write(item, 0, item.length);
    }
    if (code === codeTenant) return this.#write(this.#tenant, 0, this.#tenant.length);
    if (code === codeEmptyDigest) return this.#write(emptyDigest, 0, emptyDigest.length);
    if (code === codeAgain) {
      const again = this.#again[this.#bytes[at + 1] ?? againMax];
      if (again === undefined) return refuse(at, "names a text that did not come before");
      this.#at = at + 2;
      return this.#write(this.#out, again[0], again[1]);
    }
    if (at + 1 + uuidBytes > this.#bytes.length) return refuse(at, "is longer than what is left");
    this.#write(this.#uuidAt(at + 1), 0, 2 + uuidCharacters);
    this.#at = at + 1 + uuidBytes;
    this.#remember(start);
  }

  #uuidAt(at: number): Uint8Array {
    const item = new Uint8Array(2 + uuidCharacters);
    item[0] = 0x78;
    item[1] = uuidCharacters;
    let from = at;
    for (let index = 0; index < uuidCharacters; index += 1) {
      if (isHyphenAt(index)) {
        item[2 + index] = 0x2d;
        continue;
      }
      const byte = this.#bytes[from++] as number;
      item[2 + index] = hexDigit(byte >> 4);
      index += 1;
      item[2 + index] = hexDigit(byte & 0xf);
    }
    return item;
  }

  #remember(start: number): void {
    if (this.#again.length < againMax) this.#again.push([start, this.#length]);
  }

  #write(bytes: Uint8Array, start: number, end: number): void {
    const length = this.#length + end - start;
    if (length > cborBytesMax) refuse(this.#at, `is longer than ${cborBytesMax} bytes`);
    if (length > this.#out.length) {
      const grown = new Uint8Array(2 * length);
      grown.set(this.#out.subarray(0, this.#length));
      this.#out = grown;
    }
    const out = this.#out;
    for (let index = start, at = this.#length; index < end; index += 1, at += 1)
      out[at] = bytes[index] as number;
    this.#length = length;
  }
}

/** The id of a body, which is the first of its values. */
const idOf = (body: Uint8Array): string => {
  const at = bodyBegins.length;
  const head = headBytes(body[at] ?? 0);
  const end = at + head + argumentAt(body, at, head);
  const id =
    isAt(body, 0, bodyBegins) && (body[at] as number) >> 5 === majorText ? body.subarray(at + head, end) : [];
  if (id.length === 0 || id.some((byte) => byte > 0x7f)) refuse(0, "has no id");
  return String.fromCharCode(...id);
};

/** @returns what was condensed; disclosures that nobody has checked. @throws malformedCbor. */
export const expand = (
  condensed: Uint8Array,
  { origin, tenant }: CondensedPlace,
): { readonly envelope: Uint8Array; readonly disclosures: CborValue } => {
  if (condensed.length < kidBytes + signatureBytes) refuse(0, "is too short for a key and a signature");
  const expander = new Expander(condensed, kidBytes + signatureBytes, tenant);
  const body = expander.value();
  const disclosures = cborDecode(expander.value());
  if (!expander.isAtEnd) refuse(condensed.length, "has bytes after its values");
  const subject = `${tenant}/user/${idOf(body)}`;
  const kid = parseThumbprint(condensed.subarray(0, kidBytes));
  const draft = EnvelopeDraft.of({ kid, origin }, subject, body);
  if (draft === undefined) return refuse(0, "is no statement that is condensed");
  const signature = condensed.slice(kidBytes, kidBytes + signatureBytes);
  return { envelope: draft.sign(signature), disclosures };
};

/**
 * Parses callers' payloads, JSON text or CBOR, into the canonical value that is hashed and signed. Invalid text is
 * refused, never repaired: what is stored is what was sent. At most `jsonCharactersMax` characters, `cborDepthMax`
 * deep, `cborEntriesMax` entries a container, all enforced while reading. Uses jsonc-parser, because JSON.parse
 * silently keeps the last of two equal keys.
 */
import { printParseErrorCode, visit, type JSONVisitor } from "jsonc-parser";
import { cborDecode, type CborValue } from "@sigil/core/cbor";
import { invalidField, SigilFault } from "../../errors.ts";
import { cborDepthMax, cborEntriesMax } from "@sigil/core/limits";
import { jsonCharactersMax } from "../../limits.ts";
import { atPointer, formatPointer } from "../schemas/json-pointer.ts";

type Path = () => readonly (string | number)[];
type Container =
  | { readonly kind: "list"; readonly items: CborValue[] }
  | { readonly kind: "map"; readonly entries: { [key: string]: CborValue }; count: number; key: string };

/** Rules of refused JSON values, prefixed with the pointer. */
export const jsonRules = {
  number: "must be a number within ±(2^53−1)",
  text: "must not hold a lone surrogate",
  key: "must not have a key that holds a lone surrogate",
  keyTwice: "is a key that occurs twice",
  tooDeep: `must not be nested deeper than ${cborDepthMax}`,
  tooMany: `must have at most ${cborEntriesMax} entries`,
} as const;

const edgeDigits = String(Number.MAX_SAFE_INTEGER);

/** Whether a number that rounds to ±(2^53−1) is exactly that in decimal, in any notation. */
const isExactlyEdge = (source: string): boolean => {
  let digits = 0;
  for (const character of source) {
    if (character === "e" || character === "E") break;
    if (character === "-" || character === "." || (character === "0" && digits === 0)) continue;
    if (character !== (edgeDigits[digits] ?? "0")) return false;
    digits += 1;
  }
  return true;
};

/** Whether the written decimal, not only the rounded double, is within ±(2^53−1). */
const isWithin = (value: number, source: string): boolean => {
  const magnitude = Math.abs(value);
  return (
    magnitude < Number.MAX_SAFE_INTEGER || (magnitude === Number.MAX_SAFE_INTEGER && isExactlyEdge(source))
  );
};

/** "CommaExpected" as "comma expected". */
const wordsOf = (name: string): string => name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();

class PayloadBuilder {
  readonly #text: string;
  readonly #field: string;
  readonly #open: Container[] = [];
  #root: CborValue = null;

  constructor(text: string, field: string) {
    this.#text = text;
    this.#field = field;
  }

  build(): CborValue {
    // Callbacks throw at the first fault, so the parser never enters recovery or exceeds the depth limit.
    visit(this.#text, this.#visitor, { disallowComments: true, allowTrailingComma: false });
    return this.#root;
  }

  readonly #visitor: JSONVisitor = {
    onError: (code, _offset, _length, line, column) => {
      const rule = `is not JSON: ${wordsOf(printParseErrorCode(code))} at line ${line + 1} column ${column + 1}`;
      return invalidField(this.#field, rule);
    },
    onObjectBegin: (_offset, _length, _line, _column, path) => {
      const entries = Object.create(null) as { [key: string]: CborValue };
      this.#add(entries, path);
      this.#enter({ kind: "map", entries, count: 0, key: "" }, path);
    },
    onObjectProperty: (key, _offset, _length, _line, _column, path) => this.#name(key, path),
    onObjectEnd: () => {
      this.#open.pop();
    },
    onArrayBegin: (_offset, _length, _line, _column, path) => {
      const items: CborValue[] = [];
      this.#add(items, path);
      this.#enter({ kind: "list", items }, path);
    },
    onArrayEnd: () => {
      this.#open.pop();
    },
    onLiteralValue: (value: string | number | boolean | null, offset, length, _line, _column, path) => {
      if (typeof value === "string" && !value.isWellFormed()) this.#refuse(path(), jsonRules.text);
      if (typeof value === "number" && !isWithin(value, this.#text.slice(offset, offset + length))) {
        this.#refuse(path(), jsonRules.number);
      }
      // Adding 0 turns −0 into 0.
      this.#add(typeof value === "number" ? value + 0 : value, path);
    },
  };

  #name(key: string, path: Path): void {
    const map = this.#open.at(-1);
    if (map?.kind !== "map") return;
    if (!key.isWellFormed()) this.#refuse(path(), jsonRules.key);
    if (Object.hasOwn(map.entries, key)) this.#refuse([...path(), key], jsonRules.keyTwice);
    if (map.count === cborEntriesMax) this.#refuse(path(), jsonRules.tooMany);
    map.count += 1;
    map.key = key;
  }

  #add(value: CborValue, path: Path): void {
    const container = this.#open.at(-1);
    if (container === undefined) {
      this.#root = value;
    } else if (container.kind === "map") {
      container.entries[container.key] = value;
    } else {
      if (container.items.length === cborEntriesMax) this.#refuse(path().slice(0, -1), jsonRules.tooMany);
      container.items.push(value);
    }
  }

  #enter(container: Container, path: Path): void {
    if (this.#open.length === cborDepthMax) this.#refuse(path(), jsonRules.tooDeep);
    this.#open.push(container);
  }

  #refuse(path: readonly (string | number)[], rule: string): never {
    return invalidField(this.#field, `${atPointer(formatPointer(path))} ${rule}`);
  }
}

/**
 * Parses strict JSON (RFC 8259). Integers are exact; fractions become the nearest double.
 * @throws invalidField with `field` and a rule with the JSON pointer, or with line and column (from 1) of a syntax
 * error.
 */
export const parseJsonPayload = (text: string, field: string): CborValue => {
  if (text.length > jsonCharactersMax) {
    invalidField(field, `must be at most ${jsonCharactersMax} characters`);
  }
  return new PayloadBuilder(text, field).build();
};

/** `cborDecode` for a request's field. @throws invalidField with `field`, the offset and the rule. */
export const parseCborPayload = (bytes: Uint8Array, field: string): CborValue => {
  try {
    return cborDecode(bytes);
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "malformedCbor") throw cause;
    const { offset, rule } = cause.error;
    return invalidField(field, `is not canonical CBOR at offset ${offset}: ${rule}`);
  }
};

/**
 * What an implementation of canonical CBOR makes of the vector files: a line for each case that it gets wrong. The
 * implementation is an argument, so that a damaged one can be tried as well.
 */
import { equalBytes, fromHex, toHex } from "../../../src/core/bytes.ts";
import type { CborValue } from "../../../src/core/cbor/value.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { valueOfTyped, type Typed } from "../../../scripts/vectors/values/typed.ts";
import { fromNotation, type Notation } from "../../../scripts/vectors/notation.ts";
import { readVectors } from "./vector-files.ts";

export interface Codec {
  readonly encode: (value: CborValue) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => CborValue;
}

export interface Described {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly value: Typed;
}

export const values = readVectors<{
  readonly sha256: string;
  readonly bodies: readonly Described[];
  readonly values: readonly Described[];
  readonly refuse: readonly { readonly name: string; readonly rule: string; readonly value: Typed }[];
}>("values.json");

interface Broken {
  readonly hex?: string;
  readonly parts?: readonly { readonly hex: string; readonly times: number }[];
  readonly offset: number;
  readonly rule: string;
}

export const broken = readVectors<{ readonly cases: readonly Broken[] }>("broken.json").cases;

const golden = readVectors<{
  readonly accept: readonly { readonly name: string; readonly hex: string; readonly value: Notation }[];
  readonly refuse: readonly (Broken & { readonly name: string })[];
}>("cbor.json");

export const bytesOf = ({ hex, parts }: Broken): Uint8Array =>
  fromHex(hex ?? (parts ?? []).map((part) => part.hex.repeat(part.times)).join(""));

/** Made once: whoever tries many implementations would make the long ones again for each. */
const described = [...values.bodies, ...values.values].map((each) => ({
  ...each,
  made: valueOfTyped(each.value),
}));
const unencodable = values.refuse.map(({ name, value }) => ({ name, made: valueOfTyped(value) }));
const refused = [...broken, ...golden.refuse].map((each) => ({ ...each, bytes: bytesOf(each) }));

/** `offset: rule` of the refusal, or what happened instead. */
const refusalOf = ({ decode }: Codec, bytes: Uint8Array): string => {
  try {
    decode(bytes);
    return "accepted";
  } catch (cause) {
    const error = (cause as { readonly error?: { readonly offset?: number; readonly rule?: string } }).error;
    return error === undefined ? `crashed: ${String(cause)}` : `${error.offset}: ${error.rule}`;
  }
};

const outcomeOf = (act: () => string): string => {
  try {
    return act();
  } catch (cause) {
    return `refused: ${String(cause)}`;
  }
};

/** Hash of the encoding, and whether decoding gives it back. */
const hashThrough = ({ encode, decode }: Codec, value: CborValue): string =>
  outcomeOf(() => {
    const encoded = encode(value);
    const again = encode(decode(encoded));
    return equalBytes(again, encoded) ? toHex(sha256(encoded)) : "decodes to another value";
  });

export const wrongValues = (codec: Codec): readonly string[] => [
  ...described.flatMap(({ name, sha256: wanted, made }) => {
    const got = hashThrough(codec, made);
    return got === wanted ? [] : [`${name}: ${got}`];
  }),
  ...unencodable.flatMap(({ name, made }) => {
    const got = outcomeOf(() => `encoded as ${codec.encode(made).length} bytes`);
    return got.startsWith("refused") ? [] : [`${name}: ${got}`];
  }),
];

export const wrongRefusals = (codec: Codec): readonly string[] =>
  refused.flatMap(({ bytes, offset, rule }, index) => {
    const wanted = `${offset}: ${rule}`;
    const got = refusalOf(codec, bytes);
    return got === wanted ? [] : [`case ${index}: ${got} instead of ${wanted}`];
  });

export const wrongGolden = (codec: Codec): readonly string[] =>
  golden.accept.flatMap(({ name, hex, value }) => {
    const got = outcomeOf(() => {
      const again = toHex(codec.encode(codec.decode(fromHex(hex))));
      return again === hex ? toHex(codec.encode(fromNotation(value))) : again;
    });
    return got === hex ? [] : [`${name}: ${got}`];
  });

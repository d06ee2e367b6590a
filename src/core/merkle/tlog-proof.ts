/**
 * Proofs of inclusion as files, C2SP tlog-proof: an index, the path to the root, and the checkpoint verbatim. Pure;
 * what is parsed is not verified. Source: docs/spec/ledger.md §3.
 */
import { toBase64, type Hash } from "../bytes.ts";
import { fail } from "../errors.ts";
import { noteBytesMax, treeSizeMax } from "../limits.ts";
import { parseBase64, parseBase64Hash } from "./base64.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { parseNote } from "./note.ts";

export interface TlogProof {
  readonly leafIndex: bigint;
  /** From the leaf's sibling to the root's child, 32 bytes each. */
  readonly proof: readonly Uint8Array[];
  /** The signed note. */
  readonly checkpoint: string;
  /** Signed by nobody: nothing may rest on it. Absent in what Sigil writes. */
  readonly extra?: Uint8Array;
}

const header = "c2sp.org/tlog-proof@v1";
const pathMax = 64;
/** The checkpoint, and what stands before it: extra data of the size of a note, and a path. */
const fileUnitsMax = 4 * noteBytesMax;

const malformed = (rule: string): never => fail({ kind: "malformedCheckpoint", rule: `tlog-proof: ${rule}` });

const parsePathLine = (line: string): Hash =>
  parseBase64Hash(line, () => malformed("a line of the path must be padded standard base64 of 32 bytes"));

const parseIndex = (line: string | undefined): bigint => {
  const digits = /^index (0|[1-9]\d{0,19})$/.exec(line ?? "")?.[1];
  const index = BigInt(digits ?? malformed("must name the index in decimal without leading zeroes"));
  return index <= treeSizeMax ? index : malformed("the index must be a uint64");
};

/** @throws malformedCheckpoint if the result would not parse back. */
export const formatTlogProof = ({ leafIndex, proof, checkpoint, extra }: TlogProof): string => {
  const lines = [
    header,
    ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]),
    `index ${leafIndex}`,
    ...proof.map(toBase64),
  ];
  const text = `${lines.join("\n")}\n\n${checkpoint}`;
  parseTlogProof(text);
  return text;
};

/** Strict: `formatTlogProof` of the result is the text. @throws malformedCheckpoint. */
export const parseTlogProof = (text: string): TlogProof => {
  if (text.length > fileUnitsMax) malformed(`must be at most ${fileUnitsMax} characters`);
  const blank = text.indexOf("\n\n");
  if (blank < 0) malformed("must have an empty line before its checkpoint");
  const lines = text.slice(0, blank).split("\n");
  if (lines.shift() !== header) malformed(`must begin with ${header}`);
  const extraText = lines[0]?.startsWith("extra ") === true ? lines.shift()?.slice(6) : undefined;
  const leafIndex = parseIndex(lines.shift());
  if (lines.length > pathMax) malformed(`the path must have at most ${pathMax} lines`);
  const proof = lines.map(parsePathLine);
  const checkpoint = text.slice(blank + 2);
  parseCheckpoint(parseNote(checkpoint).text);
  const known = { leafIndex, proof, checkpoint };
  if (extraText === undefined) return known;
  return {
    ...known,
    extra: parseBase64(extraText, () => malformed("extra data must be padded standard base64")),
  };
};

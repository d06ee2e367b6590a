/** The body of `add-checkpoint`, C2SP tlog-witness: an old size, a consistency proof, a checkpoint. Pure. */
import { toBase64, type Hash } from "../bytes.ts";
import { fail } from "../errors.ts";
import { treeSizeMax } from "../limits.ts";
import { parseBase64Hash } from "./base64.ts";
import { parseCheckpoint } from "./checkpoint.ts";
import { parseNote } from "./note.ts";

export interface AddCheckpoint {
  /** Of the checkpoint that the witness cosigned last; 0 if there is none. */
  readonly oldSize: bigint;
  readonly proof: readonly Hash[];
  /** The signed note. */
  readonly checkpoint: string;
}

const proofLinesMax = 63;

const malformed = (rule: string): never =>
  fail({ kind: "malformedCheckpoint", rule: `add-checkpoint: ${rule}` });

const parseLine = (line: string): Hash =>
  parseBase64Hash(line, () => malformed("a line of the proof must be padded standard base64 of 32 bytes"));

export const formatAddCheckpoint = ({ oldSize, proof, checkpoint }: AddCheckpoint): string =>
  [`old ${oldSize}\n`, ...proof.map((hash) => `${toBase64(hash)}\n`), "\n", checkpoint].join("");

/** Strict: `formatAddCheckpoint` of the result is the text. @throws malformedCheckpoint. */
export const parseAddCheckpoint = (text: string): AddCheckpoint => {
  const blank = text.indexOf("\n\n");
  if (blank < 0) malformed("must have an empty line before its checkpoint");
  const [first = "", ...lines] = text.slice(0, blank).split("\n");
  const digits = /^old (0|[1-9]\d{0,19})$/.exec(first)?.[1];
  const oldSize = BigInt(
    digits ?? malformed("must begin with old and a size in decimal without leading zeroes"),
  );
  if (oldSize > treeSizeMax) malformed("the old size must be a uint64");
  if (lines.length > proofLinesMax) malformed(`the proof must have at most ${proofLinesMax} lines`);
  const proof = lines.map(parseLine);
  const checkpoint = text.slice(blank + 2);
  parseCheckpoint(parseNote(checkpoint).text);
  return { oldSize, proof, checkpoint };
};

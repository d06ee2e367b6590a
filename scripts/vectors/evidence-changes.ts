/** Changes of evidence files, each of which some step must refuse. */
import { parseHash } from "@sigil/core/bytes";
import { formatNote, parseNote, type NoteSignature } from "@sigil/core/merkle";
import type { Evidence, ProvenRecord } from "@sigil/core/verify";

export const flipped = (bytes: Uint8Array, index: number): Uint8Array => {
  const changed = Uint8Array.from(bytes);
  changed[index] = (changed[index] ?? 0) ^ 1;
  return changed;
};

export const withRecord = (
  evidence: Evidence,
  position: bigint,
  change: (record: ProvenRecord) => ProvenRecord,
): Evidence => ({
  ...evidence,
  records: evidence.records.map((record) => (record.position === position ? change(record) : record)),
});

/** An envelope ends in its statement's signature and an empty list. */
export const badlySigned = (record: ProvenRecord): ProvenRecord => ({
  ...record,
  envelope: flipped(record.envelope, record.envelope.length - 2),
});

export const badlyProven = (record: ProvenRecord): ProvenRecord => ({
  ...record,
  proof: record.proof.map((hash, index) => (index === 0 ? parseHash(flipped(hash, 0)) : hash)),
});

export const without = (evidence: Evidence, ...positions: readonly bigint[]): Evidence => ({
  ...evidence,
  records: evidence.records.filter(({ position }) => !positions.includes(position)),
});

/** The checkpoint with its n-th signature line changed, or without it. */
export const withLine = (evidence: Evidence, index: number, change: (line: string) => string): Evidence => {
  const [text = "", lines = ""] = evidence.checkpoint.split("\n\n");
  const changed = lines
    .trimEnd()
    .split("\n")
    .map((line, each) => (each === index ? change(line) : line))
    .filter((line) => line !== "");
  return { ...evidence, checkpoint: `${text}\n\n${changed.join("\n")}\n` };
};

export const withSignature = (evidence: Evidence, line: NoteSignature | undefined): Evidence => {
  const { text, signatures } = parseNote(evidence.checkpoint);
  const added = line === undefined ? [] : [line];
  return { ...evidence, checkpoint: formatNote({ text, signatures: [...signatures, ...added] }) };
};

/** A base64 digit in the middle of a signature. */
export const turned = (line: string): string => {
  const digit = line.length - 20;
  return `${line.slice(0, digit)}${line[digit] === "A" ? "B" : "A"}${line.slice(digit + 1)}`;
};

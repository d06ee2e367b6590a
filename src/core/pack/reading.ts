/**
 * Reads the records of a pack, decisions and others, in the order of the ledger: each opened and its signature
 * verified. Pure. Holds two batches of at most `batchItemsMax` lines. Source: docs/spec/pack.md §8, steps `lines` and
 * `signature`.
 */
import { fromBase64 } from "../bytes.ts";
import { invalidField } from "../errors.ts";
import type { KeyRing } from "../keys/ring.ts";
import { isOfKeys } from "../verify/grounds.ts";
import {
  openRecord,
  requireSignature,
  signerOf,
  type OpenedRecord,
  type VerifySignature,
} from "../verify/record.ts";
import { Refused, ruleOf } from "../verify/steps.ts";
import { linesOf, parseDecisionLine, parseRecordLine, type DecisionLine, type RecordLine } from "./lines.ts";
import type { PackFileName } from "./manifest.ts";
import type { PackStepName } from "./steps.ts";

/** Where a pack lies. What cannot be read rejects. */
export type PackReader = {
  /** Of everything that lies there. */
  readonly names: () => Promise<readonly string[]>;
  readonly read: (name: string) => AsyncIterable<Uint8Array>;
  readonly digest: (name: string) => Promise<{ readonly bytes: number; readonly sha256: string }>;
};

/** Enough that signatures are verified beside each other where there are threads for it. */
const batchItemsMax = 64;
const batchCharactersMax = 4 << 20;

type Line =
  | ({ readonly kind: "record" } & RecordLine)
  | ({ readonly kind: "decision"; readonly text: string } & DecisionLine);

/** A line with its record. */
export type PackItem = { readonly line: Line; readonly opened: OpenedRecord };

/** Names the step of what its work refuses. */
export const inPackStep = async <T>(step: PackStepName, work: () => T | Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused && error.step !== undefined) throw error;
    throw new Refused(ruleOf(error), step);
  }
};

async function* linesIn(
  reader: PackReader,
  name: PackFileName,
  parse: (text: string) => Line,
): AsyncGenerator<Line, void, undefined> {
  let number = 0;
  try {
    for await (const text of linesOf(reader.read(name))) {
      number += 1;
      yield parse(text);
    }
  } catch (error) {
    throw new Refused(`${name}, line ${number}: ${ruleOf(error)}`, "lines");
  }
}

const recordLines = (reader: PackReader) =>
  linesIn(reader, "records.jsonl", (text) => ({ kind: "record", ...parseRecordLine(text) }));

const decisionLines = (reader: PackReader) =>
  linesIn(reader, "decisions.jsonl", (text) => ({ kind: "decision", text, ...parseDecisionLine(text) }));

/** Both files as one, in ascending order of positions; a position stands once. */
async function* mergedLines(reader: PackReader, size: bigint): AsyncGenerator<Line, void, undefined> {
  const [records, decisions] = [recordLines(reader), decisionLines(reader)];
  let [record, decision] = [await records.next(), await decisions.next()];
  let next = 0n;
  while (record.done !== true || decision.done !== true) {
    const isRecord =
      record.done !== true && (decision.done === true || record.value.position <= decision.value.position);
    const line = (isRecord ? record.value : decision.value) as Line;
    if (line.position < next) {
      invalidField("position", `must be in ascending order: ${line.position} stands after ${next - 1n}`);
    }
    if (line.position >= size) invalidField("position", `must be below ${size}, the size of the tree`);
    next = line.position + 1n;
    yield line;
    if (isRecord) record = await records.next();
    else decision = await decisions.next();
  }
}

const openLine = (line: Line): PackItem => ({
  line,
  opened: openRecord(line.position, fromBase64(line.envelope)),
});

/** Genesis and the other records of keys, in the order of the ledger. @param recordsMax more are refused. */
export const readKeyRecords = async (
  reader: PackReader,
  recordsMax: number,
): Promise<readonly OpenedRecord[]> => {
  const found: OpenedRecord[] = [];
  for await (const line of recordLines(reader)) {
    const { opened } = await inPackStep("lines", () => openLine(line));
    if (!isOfKeys(opened)) continue;
    if (found.length === recordsMax) throw new Refused(`has more than ${recordsMax} records of keys`, "keys");
    found.push(opened);
  }
  return found;
};

const verifyItem = async ({ opened }: PackItem, ring: KeyRing, verify: VerifySignature): Promise<void> => {
  // Those of the walk were verified in it, by the ring of their moment: a key may have been retired since.
  if (!isOfKeys(opened)) await requireSignature(opened, signerOf(opened, ring), verify);
};

/** Batches of signed records. @throws Refused naming the step. */
export async function* readItems(
  reader: PackReader,
  { size, ring, verify }: { readonly size: bigint; readonly ring: KeyRing; readonly verify: VerifySignature },
): AsyncGenerator<readonly PackItem[], void, undefined> {
  const lines = mergedLines(reader, size);
  const takeBatch = (): Promise<readonly PackItem[]> =>
    inPackStep("lines", async () => {
      const taken: PackItem[] = [];
      for (let characters = 0; taken.length < batchItemsMax && characters < batchCharactersMax;) {
        const next = await lines.next();
        if (next.done === true) break;
        taken.push(openLine(next.value));
        characters += next.value.envelope.length;
      }
      return taken;
    });
  const beginBatch = async () => {
    const items = await takeBatch();
    // All of them end before the first refusal is named: the first in the file, whichever ended first.
    const signed = Promise.allSettled(items.map((item) => verifyItem(item, ring, verify)));
    return { items, signed };
  };
  let next = beginBatch();
  for (;;) {
    const { items, signed } = await next;
    if (items.length === 0) return;
    // The next batch is verified while this one's content is read.
    next = beginBatch();
    next.catch(() => {});
    await inPackStep("signature", async () => {
      const refused = (await signed).find((each) => each.status === "rejected");
      if (refused !== undefined) throw refused.reason;
    });
    yield items;
  }
}

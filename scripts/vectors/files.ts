/** The vector files of CBOR, COSE, records, evidence and packs, by name. */
import { cborVectors } from "./cbor.ts";
import { coseVectors } from "./cose.ts";
import { eventVectors } from "./event.ts";
import { evidenceVectors } from "./evidence.ts";
import { packVectors } from "./pack.ts";
import { recordVectors } from "./record.ts";

const written = (vectors: unknown): string => `${JSON.stringify(vectors, null, 1)}\n`;

/** File name under `test/vectors` → content. */
export const recordVectorFiles = (): Readonly<Record<string, string>> => ({
  "cbor.json": written(cborVectors()),
  "cose.json": written(coseVectors()),
  "record.json": written(recordVectors()),
  "event.json": written(eventVectors()),
});

export const evidenceVectorFiles = async (): Promise<Readonly<Record<string, string>>> => ({
  "evidence.json": written(await evidenceVectors()),
});

export const packVectorFiles = async (): Promise<Readonly<Record<string, string>>> => ({
  "pack.json": written(await packVectors()),
});

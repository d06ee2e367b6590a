/** The vector files of CBOR, COSE, records, values, evidence and packs, by name. */
import { cborVectors } from "./cbor.ts";
import { coseVectors } from "./cose.ts";
import { eventVectors } from "./event.ts";
import { evidenceVectors } from "./evidence.ts";
import { packVectors } from "./pack.ts";
import { recordVectors } from "./record.ts";
import { brokenVectors } from "./values/broken.ts";
import { valueVectors } from "./values/values.ts";

const written = (vectors: unknown): string => `${JSON.stringify(vectors, null, 1)}\n`;

/** In ASCII, each case on a line: tools that read or show the file change no character of a case. */
const inLines = (vectors: Readonly<Record<string, unknown>>): string => {
  const ascii = (value: unknown): string =>
    JSON.stringify(value).replaceAll(
      /[\u007f-\uffff]/g,
      (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  const members = Object.entries(vectors).map(([name, value]) => {
    const isList = Array.isArray(value);
    return `${ascii(name)}:${isList ? `[\n${value.map(ascii).join(",\n")}\n]` : ascii(value)}`;
  });
  return `{${members.join(",\n")}}\n`;
};

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

/** Made by a seed: values without their encodings, and encodings that are refused. */
export const valueVectorFiles = (): Readonly<Record<string, string>> => ({
  "values.json": inLines(valueVectors()),
  "broken.json": inLines(brokenVectors()),
});

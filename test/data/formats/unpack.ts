/** The kept data directories, one a format, as `npm run format:fixture` packed them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { KekInputs } from "../../../src/crypto/kek.ts";

/** What was true when it was made. */
export type FormatFacts = {
  readonly format: number;
  readonly origin: string;
  readonly genesis: string;
  /** The newest signed checkpoint. */
  readonly checkpoint: string;
  readonly decisions: readonly { readonly tenant: string; readonly auditId: string }[];
  /** The environment variable that holds the key-encryption key, and the key. */
  readonly kekName: string;
  readonly kek: string;
};

type Archive = { readonly facts: FormatFacts; readonly files: Readonly<Record<string, string>> };

export const keptFormats = async (): Promise<readonly number[]> => {
  const names = await readdir(import.meta.dirname);
  return names
    .flatMap((name) => /^([1-9]\d*)\.json\.gz$/.exec(name)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b);
};

/** Beside one of each format: what the same format held later on, with modules or without a tenant that was erased. */
export const otherKept = ["2-modules", "2-erased"] as const;
export type KeptFormat = number | (typeof otherKept)[number];

type Unpacked = { readonly facts: FormatFacts; readonly files: readonly (readonly [string, Buffer])[] };

const unpacked = new Map<KeptFormat, Unpacked>();

const unpack = (format: KeptFormat): Unpacked => {
  const packed = readFileSync(join(import.meta.dirname, `${format}.json.gz`));
  const { facts, files } = JSON.parse(gunzipSync(packed).toString()) as Archive;
  const decoded = Object.entries(files).map(
    ([name, content]) => [name, Buffer.from(content, "base64")] as const,
  );
  return { facts, files: decoded };
};

/** Into `root`: `data/`, and the key files of `root`, `operator` and `alice` beside it. */
export const unpackFormat = (format: KeptFormat, root: string): FormatFacts => {
  const { facts, files } = unpacked.get(format) ?? unpack(format);
  unpacked.set(format, { facts, files });
  for (const [name, content] of files) {
    const path = join(root, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, content, { mode: 0o600 });
  }
  return facts;
};

export const kekInputsOf = ({ kekName, kek }: FormatFacts): KekInputs => ({
  env: { [kekName]: kek },
  askPassphrase: () => Promise.reject(new Error("no passphrase")),
});

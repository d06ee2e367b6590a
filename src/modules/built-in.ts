/**
 * The module of a new deployment: `hello`, compiled from examples/modules/hello. Its code ships with the program and is
 * stored in the data directory like any other; its digest is in the genesis group. A deployment created without it can
 * add it by a proposal.
 */
import { sha256 } from "@sigil/core/hash";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Hash } from "@sigil/core/bytes";
import { fail } from "../errors.ts";
import type { ModulePayload } from "@sigil/core/record";

export type BuiltInModule = {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly digest: Hash;
  readonly payload: ModulePayload;
};

/** Relative to the sources, and to dist/src/ in the published package. */
const codePaths = ["../../generated/modules/hello.wasm", "../../../generated/modules/hello.wasm"];

const readCode = async (): Promise<Uint8Array> => {
  for (const path of codePaths) {
    try {
      return new Uint8Array(await readFile(fileURLToPath(new URL(path, import.meta.url))));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    }
  }
  return fail({ kind: "notFound", what: "built-in module", id: "hello" });
};

/** @throws notFound if the program was installed without it. */
export const readHello = async (): Promise<BuiltInModule> => {
  const bytes = await readCode();
  const digest = sha256(bytes);
  const payload: ModulePayload = {
    digest,
    minLoa: "operator",
    capabilities: [],
    limits: { wallMs: 1000, memoryPages: 64, outputBytes: 64 << 10 },
  };
  return { name: "hello", bytes, digest, payload };
};

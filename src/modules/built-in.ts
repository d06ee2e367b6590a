/**
 * The module that a new deployment begins with: `hello`, compiled from examples/modules/hello. Its code comes with the
 * program and is kept in the data directory as any other; its digest stands in the genesis group. A deployment that was
 * made without it gets it as it gets any other, by a proposal.
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

/** From the sources, and from dist/src/ in the published package. */
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

/** @throws notFound when the program was installed without it. */
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

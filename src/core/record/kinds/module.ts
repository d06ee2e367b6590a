/**
 * Payload of `module`: the digest of code approved by a quorum, and its limits. Pure. Source: docs/spec/record.md §6.
 */
import type { Hash } from "../../bytes.ts";
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { distinct, exactMap, hashField, listField, oneOfField, textItem, uintField } from "../fields.ts";
import { levelNames, type LevelName } from "../names.ts";

export interface ModulePayload {
  /** SHA-256 of the code. */
  readonly digest: Hash;
  readonly minLoa: LevelName;
  readonly capabilities: readonly string[];
  readonly limits: { readonly wallMs: number; readonly memoryPages: number; readonly outputBytes: number };
}

const moduleKeys = ["digest", "min_loa", "capabilities", "limits"];
const limitKeys = ["wall_ms", "memory_pages", "output_bytes"];

/** @throws malformedRecord naming the field. */
export const parseModule = (payload: CborValue): ModulePayload => {
  const path = "payload";
  const map = exactMap(payload, path, moduleKeys);
  const limitsPath = "payload.limits";
  const limits = exactMap(map["limits"], limitsPath, limitKeys);
  const capabilities = listField(map, path, "capabilities", textItem);
  distinct(capabilities, "payload.capabilities", "must be distinct");
  return {
    digest: hashField(map, path, "digest"),
    minLoa: oneOfField(map, path, "min_loa", levelNames),
    capabilities,
    limits: {
      wallMs: uintField(limits, limitsPath, "wall_ms", 1),
      memoryPages: uintField(limits, limitsPath, "memory_pages", 1),
      outputBytes: uintField(limits, limitsPath, "output_bytes", 1),
    },
  };
};

export const formatModule = (module: ModulePayload): CborMap => ({
  digest: module.digest,
  min_loa: module.minLoa,
  capabilities: module.capabilities,
  limits: {
    wall_ms: module.limits.wallMs,
    memory_pages: module.limits.memoryPages,
    output_bytes: module.limits.outputBytes,
  },
});

/** Capabilities and limits of modules, and whether a module fits them. Pure. */
import { invalidField } from "../../errors.ts";
import type { Inspection, ModuleImport } from "./inspect-module.ts";
import { hostFunctions } from "../wasm/host-functions.ts";
import { ownExports } from "../wasm/meter.ts";
import { preview1 } from "../wasm/preview1.ts";

/** Capabilities that a manifest grants. `canon.read:` is followed by the one readable id prefix. */
export type Capability = "clock" | "random" | "trust.check" | `canon.read:${string}`;

export type RunLimits = {
  /** Measured from the module's first instruction. */
  readonly wallMs: number;
  /** Pages of 64 KiB, all memories and tables together. */
  readonly memoryPages: number;
  readonly outputBytes: number;
  readonly logBytes: number;
  readonly inputBytes: number;
  readonly hostCalls: number;
};

const canonRead = "canon.read:";

/** The id prefix that a module may read; undefined if none. */
export const readablePrefix = (capabilities: readonly Capability[]): string | undefined =>
  capabilities
    .find((each): each is `canon.read:${string}` => each.startsWith(canonRead))
    ?.slice(canonRead.length);

/** Parses a manifest's capability names. @throws invalidField naming the item. */
export const parseCapabilities = (
  texts: readonly string[],
  field = "capabilities",
): readonly Capability[] => {
  const seen = new Set<string>();
  return texts.map((text, index): Capability => {
    const item = `${field}[${index}]`;
    const name = text.startsWith(canonRead) ? "canon.read" : text;
    if (seen.has(name)) invalidField(item, `grants ${name} a second time`);
    seen.add(name);
    if (text === "clock" || text === "random" || text === "trust.check") return text;
    const prefix = text.slice(canonRead.length);
    if (name === "canon.read" && /^[A-Za-z0-9._~:/@-]{1,255}$/.test(prefix)) return `${canonRead}${prefix}`;
    const rule = "must be clock, random, trust.check, or canon.read: with the prefix of ids it may read";
    return invalidField(item, rule);
  });
};

const refuseImport = ({ module, name }: ModuleImport, rule: string): never =>
  invalidField("module.imports", `"${module}"."${name}" ${rule}`);

const checkImport = (each: ModuleImport, grants: ReadonlySet<string>): void => {
  const offered = each.module === "wasi_snapshot_preview1" ? preview1 : hostFunctions;
  const known = each.module === "wasi_snapshot_preview1" || each.module === "sigil_v1";
  const wanted = known && Object.hasOwn(offered, each.name) ? offered[each.name] : undefined;
  if (wanted === undefined) return refuseImport(each, "does not exist in the sandbox");
  if (each.kind !== "function" || each.type !== wanted.type) {
    return refuseImport(each, `is imported as ${each.kind} ${each.type} and is a function ${wanted.type}`);
  }
  if (wanted.capabilities !== undefined && !wanted.capabilities.some((name) => grants.has(name))) {
    return refuseImport(each, `takes the capability ${wanted.capabilities.join(" or ")}`);
  }
  return undefined;
};

const checkExports = ({ imports, exports }: Inspection): void => {
  const refuse = (rule: string): never => invalidField("module.exports", rule);
  const own = exports.find(({ name }) => name.startsWith(ownExports));
  if (own !== undefined)
    refuse(`hold "${own.name}": names that begin with "${ownExports}" are the sandbox's own`);
  const start = exports.find(({ name }) => name === "_start");
  if (start?.kind !== "function" || start.type !== "() -> ()") {
    refuse('must have a function "_start" () -> (): a WASI command module has one');
  }
  const memory = exports.find(({ name }) => name === "memory");
  if (imports.length > 0 && memory?.kind !== "memory") {
    refuse('must have a memory "memory", through which what it imports is reached');
  }
};

/**
 * Checks that a module can run with these capabilities and limits. @throws invalidField naming the import, the export
 * or the limit.
 */
export const checkModule = (
  inspection: Inspection,
  capabilities: readonly Capability[],
  limits: RunLimits,
): void => {
  const grants = new Set(capabilities.map((each) => (each.startsWith(canonRead) ? "canon.read" : each)));
  for (const each of inspection.imports) checkImport(each, grants);
  checkExports(inspection);
  if (inspection.startPages > limits.memoryPages) {
    const rule = `is ${limits.memoryPages}, and the module's memories and tables take ${inspection.startPages} pages at its start`;
    invalidField("limits.memory_pages", rule);
  }
};

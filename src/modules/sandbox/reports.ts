/**
 * Validates reports of a sandbox process. Pure. A compromised process may send anything; only these reports are
 * accepted. Everything else throws, and the process is ended.
 */
import type { SigilError } from "../../errors.ts";
import type { Inspection } from "./inspect-module.ts";
import type { HostRequest, RunExit } from "./run.ts";
import type { EndedReport } from "./tasks.ts";

type Fields = Readonly<Record<string, unknown>>;

const protocolError = (what: string): never => {
  throw new Error(`a sandbox process reports ${what} that cannot be`);
};

const fieldsOf = (value: unknown, what: string): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : protocolError(what);

const own = (fields: Fields, name: string): unknown =>
  Object.hasOwn(fields, name) ? fields[name] : undefined;

const text = (fields: Fields, name: string, charactersMax: number): string => {
  const value = own(fields, name);
  return typeof value === "string" && value.length <= charactersMax ? value : protocolError(name);
};

const count = (fields: Fields, name: string, max = Number.MAX_SAFE_INTEGER): number => {
  const value = own(fields, name);
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max
    ? (value as number)
    : protocolError(name);
};

const oneOf = <const Name extends string>(fields: Fields, name: string, names: readonly Name[]): Name =>
  names.find((each) => each === own(fields, name)) ?? protocolError(name);

const list = <Item>(
  fields: Fields,
  name: string,
  countMax: number,
  item: (fields: Fields) => Item,
): Item[] => {
  const value = own(fields, name);
  if (!Array.isArray(value) || value.length > countMax) return protocolError(name);
  return value.map((each) => item(fieldsOf(each, name)));
};

const ruleCharactersMax = 4096;
const exitCodeMax = 0xffff_ffff;
const trapNames = [
  "unreachable",
  "memory_limit",
  "memory_out_of_bounds",
  "table_out_of_bounds",
  "indirect_call",
  "divide_by_zero",
  "integer_overflow",
  "stack_overflow",
  "other",
] as const;

const readExit = (fields: Fields): RunExit => {
  const kind = oneOf(fields, "kind", ["exited", "trapped", "killed", "refused"]);
  switch (kind) {
    case "exited":
      return { kind, code: count(fields, "code", exitCodeMax) };
    case "trapped":
      return { kind, trap: oneOf(fields, "trap", trapNames) };
    case "killed":
      return { kind, limit: oneOf(fields, "limit", ["output", "log", "host_calls", "memory"]) };
    case "refused":
      return { kind, rule: text(fields, "rule", ruleCharactersMax) };
  }
};

/** @param token of the current run. */
export const readEnded = (header: unknown, token: string): EndedReport => {
  const fields = fieldsOf(header, "an end");
  if (own(fields, "token") !== token) protocolError("the end of another run");
  return {
    exit: readExit(fieldsOf(own(fields, "exit"), "an exit")),
    cpuUs: count(fields, "cpuUs"),
    processCpuUs: count(fields, "processCpuUs"),
    memoryBytes: count(fields, "memoryBytes"),
  };
};

/** The rule that a module broke, or null if it is loaded. */
export const readLoaded = (header: unknown): string | null => {
  const fields = fieldsOf(header, "a load");
  return own(fields, "rule") === null ? null : text(fields, "rule", ruleCharactersMax);
};

export const readCall = (header: unknown): HostRequest => {
  const fields = fieldsOf(header, "a call");
  const charactersMax = 4096;
  const kind = oneOf(fields, "kind", ["canon.read", "trust.check"]);
  if (kind === "canon.read") return { kind, id: text(fields, "id", charactersMax) };
  return {
    kind,
    action: text(fields, "action", charactersMax),
    target: text(fields, "target", charactersMax),
  };
};

/** Permissions that the process still holds, by Node's names. */
export const readReady = (header: unknown): readonly string[] => {
  const held = own(fieldsOf(header, "a start"), "holds");
  return Array.isArray(held) ? held.map(String) : protocolError("permissions");
};

const itemsMax = 1024;
const nameCharactersMax = 2048;
const kinds = ["function", "table", "memory", "global"] as const;

const readExtern = (fields: Fields) => ({
  name: text(fields, "name", nameCharactersMax),
  kind: oneOf(fields, "kind", kinds),
  type: text(fields, "type", nameCharactersMax),
});

const readLimits = (fields: Fields) => ({
  initial: count(fields, "initial"),
  max: own(fields, "max") === null ? null : count(fields, "max"),
});

const flag = (fields: Fields, name: string): boolean => {
  const value = own(fields, name);
  return typeof value === "boolean" ? value : protocolError(name);
};

const names = <const Name extends string>(
  fields: Fields,
  name: string,
  known: readonly Name[],
): readonly Name[] => {
  const value = own(fields, name);
  if (!Array.isArray(value)) return protocolError(name);
  return known.filter((each) => value.includes(each));
};

const readInspection = (fields: Fields): Inspection => ({
  bytes: count(fields, "bytes"),
  imports: list(fields, "imports", itemsMax, (each) => ({
    module: text(each, "module", nameCharactersMax),
    ...readExtern(each),
  })),
  exports: list(fields, "exports", itemsMax, readExtern),
  memories: list(fields, "memories", itemsMax, readLimits),
  tables: list(fields, "tables", itemsMax, (each) => ({
    element: oneOf(each, "element", ["funcref", "externref"]),
    ...readLimits(each),
  })),
  functions: count(fields, "functions"),
  dataBytes: count(fields, "dataBytes"),
  hasStart: flag(fields, "hasStart"),
  startPages: count(fields, "startPages"),
  grows: flag(fields, "grows"),
  needs: names(fields, "needs", ["canon.read", "trust.check"]),
  uses: names(fields, "uses", ["clock", "random"]),
});

const readRefusal = (fields: Fields): SigilError => {
  const kind = oneOf(fields, "kind", ["malformedModule", "tooLarge"]);
  if (kind === "malformedModule") {
    return { kind, offset: count(fields, "offset"), rule: text(fields, "rule", ruleCharactersMax) };
  }
  return { kind, what: "module", bytes: count(fields, "bytes"), limit: count(fields, "limit") };
};

export const readInspected = (header: unknown): Inspection | { readonly error: SigilError } => {
  const fields = fieldsOf(header, "an inspection");
  const error = own(fields, "error");
  if (error !== undefined) return { error: readRefusal(fieldsOf(error, "an error")) };
  return readInspection(fieldsOf(own(fields, "inspection"), "an inspection"));
};

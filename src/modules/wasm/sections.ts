/**
 * Parses the sections of a WebAssembly binary: imports, exports, definitions. Pure. Reads every byte once; features
 * that the sandbox does not support are refused here, types and validity are checked by the engine. Source: WebAssembly
 * Core Specification 2.0, §5.5.
 */
import {
  moduleExportsMax,
  moduleFunctionsMax,
  moduleImportsMax,
  moduleItemsMax,
  moduleMemoriesMax,
  moduleNameBytesMax,
  moduleSignatureTypesMax,
  moduleTypesMax,
} from "../../limits.ts";
import { approvedCode, type CodeBounds } from "./bounds.ts";
import { walkExpression, type GrowthSite } from "./instructions.ts";
import { WasmReader } from "./reader.ts";

export type ExternKind = "function" | "table" | "memory" | "global" | "tag";
export type Limits = { readonly initial: number; readonly max: number | null };
export type TableType = Limits & { readonly element: "funcref" | "externref" };

/** One section's bytes: `at` is its id, `from` its content, `end` the byte after it. */
export type Section = {
  readonly id: number;
  readonly at: number;
  readonly from: number;
  readonly end: number;
};

export type FunctionBody = { readonly from: number; readonly end: number };

/** Kind and printed type of an import or export. */
export type Extern = { readonly kind: ExternKind; readonly type: string };

export type WasmModule = {
  readonly bytes: Uint8Array;
  readonly sections: readonly Section[];
  /** As `(i32, i64) -> (i32)`. */
  readonly types: readonly string[];
  readonly imports: readonly (Extern & { readonly module: string; readonly name: string })[];
  readonly exports: readonly (Extern & { readonly name: string })[];
  /** Imported and defined functions, by index. */
  readonly functions: readonly string[];
  readonly memories: readonly Limits[];
  readonly tables: readonly TableType[];
  readonly globals: readonly string[];
  /** Index of the function that runs before `_start`. */
  readonly start: number | null;
  readonly dataBytes: number;
  readonly bodies: readonly FunctionBody[];
  /** Locals declared by all functions together. */
  readonly locals: number;
  readonly growth: readonly GrowthSite[];
};

/** A module while it is parsed. */
type Draft = {
  -readonly [Key in keyof WasmModule]: WasmModule[Key] extends readonly (infer Item)[]
    ? Item[]
    : WasmModule[Key];
};

const VALUE_TYPES: Readonly<Record<number, string>> = {
  0x7f: "i32",
  0x7e: "i64",
  0x7d: "f32",
  0x7c: "f64",
  0x7b: "v128",
  0x70: "funcref",
  0x6f: "externref",
};

const TABLE_TYPES: Readonly<Record<number, TableType["element"]>> = { 0x70: "funcref", 0x6f: "externref" };

const valueType = (reader: WasmReader): string => {
  const at = reader.at;
  return VALUE_TYPES[reader.byte()] ?? reader.refuse("has a value type that the sandbox does not know", at);
};

const valueTypes = (reader: WasmReader): string => {
  const count = reader.count("types in one signature", moduleSignatureTypesMax);
  return `(${Array.from({ length: count }, () => valueType(reader)).join(", ")})`;
};

const readType = (reader: WasmReader, draft: Draft): void => {
  if (reader.byte() !== 0x60) reader.refuse("has a type that is no function's", reader.at - 1);
  draft.types.push(`${valueTypes(reader)} -> ${valueTypes(reader)}`);
};

const readLimits = (reader: WasmReader): Limits => {
  const at = reader.at;
  const flags = reader.byte();
  if (flags > 1) reader.refuse("has a shared or 64-bit memory or table", at);
  return { initial: reader.u32(), max: flags === 1 ? reader.u32() : null };
};

const readMemory = (reader: WasmReader, draft: Draft): Extern => {
  const limits = readLimits(reader);
  draft.memories.push(limits);
  if (draft.memories.length > moduleMemoriesMax) reader.refuse(`has more than ${moduleMemoriesMax} memories`);
  return memoryExtern(limits);
};

const readTable = (reader: WasmReader, draft: Draft): Extern => {
  const at = reader.at;
  const element = TABLE_TYPES[reader.byte()];
  if (element === undefined) return reader.refuse("has a table of neither funcref nor externref", at);
  const table = { element, ...readLimits(reader) };
  draft.tables.push(table);
  if (draft.tables.length > moduleMemoriesMax) reader.refuse(`has more than ${moduleMemoriesMax} tables`);
  return tableExtern(table);
};

const readGlobalType = (reader: WasmReader, draft: Draft): Extern => {
  const type = valueType(reader);
  const mutable = reader.byte();
  if (mutable > 1) reader.refuse("has a global that is neither constant nor variable", reader.at - 1);
  const text = mutable === 1 ? `mut ${type}` : type;
  draft.globals.push(text);
  return { kind: "global", type: text };
};

const range = ({ initial, max }: Limits): string => (max === null ? `${initial}..` : `${initial}..${max}`);
const memoryExtern = (limits: Limits): Extern => ({ kind: "memory", type: `${range(limits)} pages` });
const tableExtern = (table: TableType): Extern => ({
  kind: "table",
  type: `${range(table)} ${table.element}`,
});

const noGrowth = (): void => undefined;
const constant = (reader: WasmReader): void => walkExpression(reader, noGrowth);

const readFunction = (reader: WasmReader, draft: Draft): Extern => {
  const at = reader.at;
  const type = draft.types[reader.u32()] ?? reader.refuse("has a function of a type that is not there", at);
  draft.functions.push(type);
  return { kind: "function", type };
};

/** By kind number. */
const readImported = [readFunction, readTable, readMemory, readGlobalType];

const readImport = (reader: WasmReader, draft: Draft): void => {
  const module = reader.name(moduleNameBytesMax);
  const name = reader.name(moduleNameBytesMax);
  const at = reader.at;
  const read = readImported[reader.byte()] ?? reader.refuse("has an import of an unknown kind", at);
  draft.imports.push({ module, name, ...read(reader, draft) });
};

const exported = (reader: WasmReader, draft: Draft): Extern | undefined => {
  const at = reader.at;
  const kind = reader.byte();
  const index = reader.u32();
  if (kind === 0) {
    const type = draft.functions[index];
    return type === undefined ? undefined : { kind: "function", type };
  }
  if (kind === 1) {
    const table = draft.tables[index];
    return table && tableExtern(table);
  }
  if (kind === 2) {
    const memory = draft.memories[index];
    return memory && memoryExtern(memory);
  }
  if (kind !== 3) reader.refuse("has an export of an unknown kind", at);
  const type = draft.globals[index];
  return type === undefined ? undefined : { kind: "global", type };
};

const readExport = (reader: WasmReader, draft: Draft): void => {
  const at = reader.at;
  const name = reader.name(moduleNameBytesMax);
  draft.exports.push({
    name,
    ...(exported(reader, draft) ?? reader.refuse(`exports "${name}", which is not there`, at)),
  });
};

/**
 * Runs of a count and a type. A run can declare up to 2³² locals in five bytes, so each is checked against the limits
 * as it is read.
 */
const readLocals = (
  body: WasmReader,
  draft: Draft,
  { localsPerFunctionMax, localsMax }: CodeBounds,
): void => {
  let own = 0;
  for (let runs = body.u32(); runs > 0; runs -= 1) {
    const at = body.at;
    const count = body.u32();
    own += count;
    draft.locals += count;
    if (own > localsPerFunctionMax) {
      body.refuse(`has a function of ${own} locals or more, ${localsPerFunctionMax} is the most`, at);
    }
    if (draft.locals > localsMax) {
      body.refuse(`has ${draft.locals} locals or more in all functions, ${localsMax} is the most`, at);
    }
    valueType(body);
  }
};

const readCode = (reader: WasmReader, draft: Draft, bounds: CodeBounds): void => {
  const at = reader.at;
  const bytes = reader.size();
  if (bytes > bounds.functionBytesMax) {
    reader.refuse(`has a function of ${bytes} bytes, ${bounds.functionBytesMax} is the most`, at);
  }
  const body = new WasmReader(reader.bytes, reader.at, reader.at + bytes);
  draft.bodies.push({ from: body.at, end: body.end });
  readLocals(body, draft, bounds);
  walkExpression(body, (site) => draft.growth.push(site));
  if (!body.done) body.refuse("has a function that goes on after its end");
  reader.at = body.end;
};

/** Kind of a data segment: 0 active in the first memory, 1 passive, 2 active in a given memory. */
const readData = (reader: WasmReader, draft: Draft): void => {
  const kind = reader.u32();
  if (kind > 2) reader.refuse("has a data segment of an unknown kind");
  if (kind === 2) reader.u32();
  if (kind !== 1) constant(reader);
  const bytes = reader.size();
  draft.dataBytes += bytes;
  reader.skip(bytes);
};

type ReadItem = (reader: WasmReader, draft: Draft, bounds: CodeBounds) => unknown;
type Items = { readonly what: string; readonly countMax: number; readonly read: ReadItem };

const readGlobal: ReadItem = (reader, draft) => {
  readGlobalType(reader, draft);
  constant(reader);
};

/** List sections by id. The others are handled below. */
const LISTS: Readonly<Record<number, Items>> = {
  1: { what: "types", countMax: moduleTypesMax, read: readType },
  2: { what: "imports", countMax: moduleImportsMax, read: readImport },
  3: { what: "functions", countMax: moduleFunctionsMax, read: readFunction },
  4: { what: "tables", countMax: moduleMemoriesMax, read: readTable },
  5: { what: "memories", countMax: moduleMemoriesMax, read: readMemory },
  6: { what: "globals", countMax: moduleItemsMax, read: readGlobal },
  7: { what: "exports", countMax: moduleExportsMax, read: readExport },
  10: { what: "function bodies", countMax: moduleFunctionsMax, read: readCode },
  11: { what: "data segments", countMax: moduleItemsMax, read: readData },
};

/** The required order, each section at most once: the data count section (12) comes before the code. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const custom = 0;
const start = 8;

const readStart = (reader: WasmReader, draft: Draft): void => {
  const at = reader.at;
  draft.start = reader.u32();
  if (draft.start >= draft.functions.length) reader.refuse("starts with a function that is not there", at);
};

const readSection = (reader: WasmReader, draft: Draft, id: number, bounds: CodeBounds): void => {
  const list = LISTS[id];
  if (list !== undefined) {
    for (let left = reader.count(list.what, list.countMax); left > 0; left -= 1) {
      list.read(reader, draft, bounds);
    }
  }
  if (id === start) readStart(reader, draft);
  if ((list !== undefined || id === start) && !reader.done) {
    reader.refuse("has a section that goes on after its end");
  }
};

const empty = (bytes: Uint8Array): Draft => ({
  bytes,
  sections: [],
  types: [],
  imports: [],
  exports: [],
  functions: [],
  memories: [],
  tables: [],
  globals: [],
  start: null,
  dataBytes: 0,
  bodies: [],
  locals: 0,
  growth: [],
});

const preamble = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** @throws malformedModule naming the offset and the rule. */
export const parseWasm = (bytes: Uint8Array, bounds: CodeBounds = approvedCode): WasmModule => {
  const reader = new WasmReader(bytes);
  for (const byte of preamble) {
    if (reader.byte() !== byte) reader.refuse("is no WebAssembly module of version 1", reader.at - 1);
  }
  const draft = empty(bytes);
  let place = -1;
  while (!reader.done) {
    const at = reader.at;
    const id = reader.byte();
    const from = reader.size();
    const section = new WasmReader(bytes, reader.at, reader.at + from);
    if (id !== custom) {
      const next = ORDER.indexOf(id);
      if (next < 0) reader.refuse(`has a section of the unknown kind ${id}`, at);
      if (next <= place) reader.refuse(`has section ${id} twice or out of order`, at);
      place = next;
    }
    draft.sections.push({ id, at, from: section.at, end: section.end });
    readSection(section, draft, id, bounds);
    reader.at = section.end;
  }
  return draft;
};

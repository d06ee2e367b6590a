/**
 * Instruments a module with a memory budget. Pure. One budget for all memories and tables: each `memory.grow` and
 * `table.grow` is replaced by a call of a function that deducts the cost from the budget first, and traps if it is
 * exceeded. Deterministic.
 */
import { assert, fail, invalidField } from "../../errors.ts";
import { concatBytes, utf8Encode } from "@sigil/core/bytes";
import type { GrowthSite } from "./instructions.ts";
import { WasmReader } from "./reader.ts";
import type { Section, WasmModule } from "./sections.ts";
import { leb, signedLeb, sized } from "./writer.ts";

export const pageBytes = 65_536;
/** Engine memory per entry of a function table, measured; other entries take less. */
const tableEntryBytes = 32;

/** Prefix of added exports, which modules must not use themselves. */
export const ownExports = "sigil:";
/** The exported global with the remaining budget in bytes, i64. */
export const budgetExport = `${ownExports}memory_budget`;
/** The module's start function, called by the sandbox once memory and budget are accessible. */
export const startExport = `${ownExports}start`;
/** Subtracted once if the budget is exceeded: a negative budget marks that, and still gives the amount used before. */
export const overdrawn = 2n ** 62n;

/** Initial bytes of all memories and tables. */
export const chargeOf = ({ memories, tables }: Pick<WasmModule, "memories" | "tables">): number =>
  memories.reduce((sum, { initial }) => sum + initial * pageBytes, 0) +
  tables.reduce((sum, { initial }) => sum + initial * tableEntryBytes, 0);

const I32 = 0x7f;
const I64 = 0x7e;
const REFERENCE = { funcref: 0x70, externref: 0x6f } as const;
const empty = 0x40;
const functionType = 0x60;

/** A metering function: its key, type and body. */
type Growing = { readonly key: string; readonly type: number[]; readonly body: number[] };

const keyOf = ({ of, index }: Pick<GrowthSite, "of" | "index">): string => `${of} ${index}`;

/**
 * Pseudocode: cost = delta × unit; if cost > budget: overdraw and trap; grown = grow(delta); if grown ≥ 0: budget −=
 * cost; return grown. For tables the first parameter is the new entries' value.
 */
const growing = (module: WasmModule, site: GrowthSite, budget: number): Growing => {
  const isTable = site.of === "table";
  const [shift, delta, cost, grown] = isTable ? [5, 1, 2, 3] : [16, 0, 1, 2];
  assert(2 ** shift === (isTable ? tableEntryBytes : pageBytes), "a shift is not its unit");
  const element = isTable ? module.tables[site.index]?.element : undefined;
  if (isTable && element === undefined) {
    fail({ kind: "malformedModule", offset: site.at, rule: "grows a table that is not there" });
  }
  const grow = isTable
    ? [0x20, 0, 0x20, delta, 0xfc, 15, ...leb(site.index)]
    : [0x20, delta, 0x40, ...leb(site.index)];
  const take = [0x23, ...leb(budget)];
  const give = [0x24, ...leb(budget)];
  const overdraw = [...take, 0x42, ...signedLeb(overdrawn), 0x7d, ...give, 0x00];
  const price = [0x20, delta, 0xad, 0x42, shift, 0x86, 0x22, cost];
  const pay = [...take, 0x20, cost, 0x7d, ...give];
  const locals = [2, 1, I64, 1, I32];
  const guard = [...price, ...take, 0x56, 0x04, empty, ...overdraw, 0x0b];
  const growth = [...grow, 0x22, grown, 0x41, 0x7f, 0x47, 0x04, empty, ...pay, 0x0b];
  const code = [...locals, ...guard, ...growth, 0x20, grown, 0x0b];
  const params = element === undefined ? [I32] : [REFERENCE[element], I32];
  return { key: keyOf(site), type: [functionType, ...sized(params), 1, I32], body: sized(code) };
};

/** Appends items to a list section; creates it if missing. */
const extended = (
  module: WasmModule,
  section: Section | undefined,
  id: number,
  items: readonly number[][],
) => {
  const reader = new WasmReader(module.bytes, section?.from ?? 0, section?.end ?? 0);
  const before = section === undefined ? 0 : reader.u32();
  const content = [
    Uint8Array.from(leb(before + items.length)),
    module.bytes.subarray(reader.at, reader.end),
    Uint8Array.from(items.flat()),
  ];
  return framed(id, content);
};

const framed = (id: number, content: readonly Uint8Array[]): Uint8Array => {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  return concatBytes(Uint8Array.from([id, ...leb(length)]), ...content);
};

/** The function bodies with grow instructions replaced by calls, then the metering functions. */
const rewrittenCode = (
  module: WasmModule,
  added: readonly Growing[],
  functionOf: ReadonlyMap<string, number>,
): Uint8Array => {
  const parts: Uint8Array[] = [Uint8Array.from(leb(module.bodies.length + added.length))];
  let next = 0;
  for (const { from, end } of module.bodies) {
    const pieces: Uint8Array[] = [];
    let at = from;
    for (let site = module.growth[next]; site !== undefined && site.at < end; site = module.growth[next]) {
      const call = [0x10, ...leb(functionOf.get(keyOf(site)) ?? 0)];
      pieces.push(module.bytes.subarray(at, site.at), Uint8Array.from(call));
      at = site.end;
      next += 1;
    }
    pieces.push(module.bytes.subarray(at, end));
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    parts.push(Uint8Array.from(leb(length)), ...pieces);
  }
  assert(next === module.growth.length, "a growth lies in no function");
  for (const { body } of added) parts.push(Uint8Array.from(body));
  return framed(10, parts);
};

/** Section ids in their required order. */
const ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

const replaceSections = (module: WasmModule, replaced: ReadonlyMap<number, Uint8Array>): Uint8Array => {
  const parts: Uint8Array[] = [module.bytes.subarray(0, 8)];
  const pending = [...replaced.keys()].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const putBefore = (id: number): void => {
    for (let first = pending[0]; first !== undefined && ORDER.indexOf(first) < ORDER.indexOf(id);) {
      parts.push(replaced.get(first) ?? new Uint8Array());
      pending.shift();
      first = pending[0];
    }
  };
  for (const { id, at, end } of module.sections) {
    if (id !== 0) putBefore(id);
    const instead = replaced.get(id);
    parts.push(instead ?? module.bytes.subarray(at, end));
    if (instead !== undefined) pending.shift();
  }
  for (const id of pending) parts.push(replaced.get(id) ?? new Uint8Array());
  return concatBytes(...parts);
};

const exportOf = (name: string, kind: 0 | 3, index: number): number[] => [
  ...sized([...utf8Encode(name)]),
  kind,
  ...leb(index),
];

/** Items that metering adds to each list, by section id. */
const additionsTo = (
  module: WasmModule,
  added: readonly Growing[],
  left: number,
): Map<number, number[][]> => {
  const additions = new Map<number, number[][]>();
  const exports = module.start === null ? [] : [exportOf(startExport, 0, module.start)];
  if (added.length > 0) {
    const budget = module.globals.length;
    additions.set(
      1,
      added.map(({ type }) => type),
    );
    additions.set(
      3,
      added.map((_, index) => leb(module.types.length + index)),
    );
    additions.set(6, [[I64, 1, 0x42, ...signedLeb(BigInt(left)), 0x0b]]);
    exports.push(exportOf(budgetExport, 3, budget));
  }
  return exports.length > 0 ? additions.set(7, exports) : additions;
};

/**
 * Instruments a module for a memory limit: grow instructions are metered, the start function becomes an export. A
 * module with neither is returned unchanged.
 * @throws invalidField `limits.memory_pages` if its initial size exceeds the limit; malformedModule.
 */
export const meterMemory = (module: WasmModule, memoryPages: number): Uint8Array => {
  const left = memoryPages * pageBytes - chargeOf(module);
  if (left < 0) {
    const rule = `is ${memoryPages}, and the module's memories and tables take more at its start`;
    invalidField("limits.memory_pages", rule);
  }
  const sites = new Map(module.growth.map((site) => [keyOf(site), site]));
  const added = [...sites.values()].map((site) => growing(module, site, module.globals.length));
  const functionOf = new Map(added.map(({ key }, index) => [key, module.functions.length + index]));
  const sectionOf = new Map(module.sections.map((section) => [section.id, section]));
  const replaced = new Map<number, Uint8Array>();
  for (const [id, items] of additionsTo(module, added, left)) {
    replaced.set(id, extended(module, sectionOf.get(id), id, items));
  }
  if (module.start !== null) replaced.set(8, new Uint8Array());
  if (added.length > 0) replaced.set(10, rewrittenCode(module, added, functionOf));
  return replaced.size === 0 ? module.bytes : replaceSections(module, replaced);
};

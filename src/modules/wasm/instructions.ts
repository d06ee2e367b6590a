/**
 * Walks the instructions of a function body or a constant expression. Pure. Unknown instructions are refused; known is
 * WebAssembly 2.0 with multiple memories and tail calls. Threads, garbage collection, exceptions and relaxed SIMD are
 * refused: they block a thread, use uncounted memory, catch the end of a run, or are nondeterministic.
 */
import type { WasmReader } from "./reader.ts";

/** A memory.grow or table.grow instruction; `at` and `end` delimit its bytes. */
export type GrowthSite = {
  readonly at: number;
  readonly end: number;
  readonly of: "memory" | "table";
  readonly index: number;
};

type Skip = (reader: WasmReader) => void;

const none: Skip = () => undefined;
const index: Skip = (reader) => void reader.u32();
const twoIndexes: Skip = (reader) => {
  reader.u32();
  reader.u32();
};

/** Alignment and offset; if bit 6 of the alignment is set, a memory index is in between. */
const memoryArgument: Skip = (reader) => {
  const align = reader.u32();
  if ((align & 0x40) !== 0) reader.u32();
  reader.u32();
};

const laneArgument: Skip = (reader) => {
  memoryArgument(reader);
  reader.byte();
};

const branchTable: Skip = (reader) => {
  // Each label takes at least a byte, so the loop is bounded by the input.
  for (let left = reader.u32(); left >= 0; left -= 1) reader.u32();
};

const typedSelect: Skip = (reader) => {
  for (let left = reader.u32(); left > 0; left -= 1) reader.byte();
};

const referenceType: Skip = (reader) => {
  const type = reader.byte();
  if (type !== 0x70 && type !== 0x6f) reader.refuse("has a reference that is neither funcref nor externref");
};

const put = (table: (Skip | undefined)[], from: number, to: number, skip: Skip): void => {
  for (let code = from; code <= to; code += 1) table[code] = skip;
};

const plain: (Skip | undefined)[] = [];
put(plain, 0x00, 0x01, none);
put(plain, 0x02, 0x04, (reader) => reader.skipLeb(33));
put(plain, 0x05, 0x05, none);
put(plain, 0x0c, 0x0d, index);
put(plain, 0x0e, 0x0e, branchTable);
put(plain, 0x0f, 0x0f, none);
put(plain, 0x10, 0x10, index);
put(plain, 0x11, 0x11, twoIndexes);
put(plain, 0x12, 0x12, index);
put(plain, 0x13, 0x13, twoIndexes);
put(plain, 0x1a, 0x1b, none);
put(plain, 0x1c, 0x1c, typedSelect);
put(plain, 0x20, 0x26, index);
put(plain, 0x28, 0x3e, memoryArgument);
put(plain, 0x3f, 0x3f, index);
put(plain, 0x41, 0x41, (reader) => reader.skipLeb(32));
put(plain, 0x42, 0x42, (reader) => reader.skipLeb(64));
put(plain, 0x43, 0x43, (reader) => reader.skip(4));
put(plain, 0x44, 0x44, (reader) => reader.skip(8));
put(plain, 0x45, 0xc4, none);
put(plain, 0xd0, 0xd0, referenceType);
put(plain, 0xd1, 0xd1, none);
put(plain, 0xd2, 0xd2, index);

/** Instructions with prefix 0xfc. */
const bulk: (Skip | undefined)[] = [];
put(bulk, 0, 7, none);
put(bulk, 8, 8, twoIndexes);
put(bulk, 9, 9, index);
put(bulk, 10, 10, twoIndexes);
put(bulk, 11, 11, index);
put(bulk, 12, 12, twoIndexes);
put(bulk, 13, 13, index);
put(bulk, 14, 14, twoIndexes);
put(bulk, 16, 17, index);

/** Instructions with prefix 0xfd. */
const vector: (Skip | undefined)[] = [];
put(vector, 0, 11, memoryArgument);
put(vector, 12, 13, (reader) => reader.skip(16));
put(vector, 14, 20, none);
put(vector, 21, 34, (reader) => reader.skip(1));
put(vector, 35, 83, none);
put(vector, 84, 91, laneArgument);
put(vector, 92, 93, memoryArgument);
put(vector, 94, 255, none);

const end = 0x0b;
const memoryGrow = 0x40;
const bulkPrefix = 0xfc;
const tableGrow = 15;
const vectorPrefix = 0xfd;

const opensBlock = (code: number): boolean => code >= 0x02 && code <= 0x04;

const hex = (code: number): string => `0x${code.toString(16).padStart(2, "0")}`;

const refuseCode = (reader: WasmReader, at: number, name: string): never =>
  reader.refuse(`has the instruction ${name}, which the sandbox does not know`, at);

/**
 * Reads one expression through its final `end`. At most one step per byte.
 * @param onGrowth called for each `memory.grow` and `table.grow`. @throws malformedModule.
 */
export const walkExpression = (reader: WasmReader, onGrowth: (site: GrowthSite) => void): void => {
  for (let depth = 1; depth > 0;) {
    const at = reader.at;
    const code = reader.byte();
    if (code === end) depth -= 1;
    else if (code === memoryGrow) onGrowth({ of: "memory", index: reader.u32(), at, end: reader.at });
    else if (code === bulkPrefix) {
      const sub = reader.u32();
      if (sub === tableGrow) onGrowth({ of: "table", index: reader.u32(), at, end: reader.at });
      else (bulk[sub] ?? refuseCode(reader, at, `0xfc ${sub}`))(reader);
    } else if (code === vectorPrefix) {
      const sub = reader.u32();
      (vector[sub] ?? refuseCode(reader, at, `0xfd ${sub}`))(reader);
    } else {
      (plain[code] ?? refuseCode(reader, at, hex(code)))(reader);
      if (opensBlock(code)) depth += 1;
    }
  }
};

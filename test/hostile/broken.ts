/** Modules that no assembler would make: too large, cut off, damaged. */
import { concatBytes } from "../../src/core/bytes.ts";
import { leb } from "../../src/modules/wasm/writer.ts";

const section = (id: number, content: Uint8Array): Uint8Array =>
  concatBytes(Uint8Array.from([id, ...leb(content.length)]), content);

const preamble = Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const startType = section(1, Uint8Array.from([1, 0x60, 0, 0]));
const startFunction = section(3, Uint8Array.from([1, 0]));
const name = [6, ...new TextEncoder().encode("_start")];
const startExport = section(7, Uint8Array.from([1, ...name, 0, 0]));
const startCode = section(10, Uint8Array.from([1, 2, 0, 0x0b]));

/** A command module that does nothing, and carries this many bytes in passive segments of a megabyte. */
export const dataModule = (bytes: number): Uint8Array => {
  const segmentBytes = 1 << 20;
  const count = Math.ceil(bytes / segmentBytes);
  const content = new Uint8Array(segmentBytes).fill(0x5a);
  const segments = Array.from({ length: count }, () =>
    concatBytes(Uint8Array.from([1, ...leb(segmentBytes)]), content),
  );
  const data = section(11, concatBytes(Uint8Array.from(leb(count)), ...segments));
  return concatBytes(preamble, startType, startFunction, startExport, startCode, data);
};

/** A function of so many nested blocks that a compiler which calls itself would run out of stack. */
export const nestedModule = (depth: number): Uint8Array => {
  const body = new Uint8Array(2 + 3 * depth);
  for (let index = 0; index < depth; index += 1) body.set([0x02, 0x40], 1 + 2 * index);
  body.fill(0x0b, 1 + 2 * depth);
  const code = section(10, concatBytes(Uint8Array.from([1, ...leb(body.length)]), body));
  return concatBytes(preamble, startType, startFunction, startExport, code);
};

/** A function with fifty thousand locals times a thousand groups, which says so in a few bytes. */
export const manyLocals = (): Uint8Array => {
  const groups = 1000;
  const group = [...leb(0xffff_ffff), 0x7f];
  const body = Uint8Array.from([...leb(groups), ...Array.from({ length: groups }, () => group).flat(), 0x0b]);
  const code = section(10, concatBytes(Uint8Array.from([1, ...leb(body.length)]), body));
  return concatBytes(preamble, startType, startFunction, startExport, code);
};

/** Runs of a function's locals, each a count of i32; nothing more is in its body. */
export const bodyOf = (...runs: readonly number[]): Uint8Array => {
  const groups = runs.flatMap((count) => [...leb(count), 0x7f]);
  return Uint8Array.from([...leb(runs.length), ...groups, 0x0b]);
};

/** Of this many bytes, at least 2: nothing, many times. */
export const bodyOfBytes = (bytes: number): Uint8Array => {
  const body = new Uint8Array(bytes).fill(0x01);
  body[0] = 0;
  body[bytes - 1] = 0x0b;
  return body;
};

/** A command module of these functions, each as often as it says; the first is `_start`. */
export const functionsModule = (
  ...functions: readonly { readonly body: Uint8Array; readonly times: number }[]
): Uint8Array => {
  const total = functions.reduce((sum, { times }) => sum + times, 0);
  const bodies = functions.map(({ body, times }) => {
    const one = concatBytes(Uint8Array.from(leb(body.length)), body);
    const all = new Uint8Array(one.length * times);
    for (let index = 0; index < times; index += 1) all.set(one, index * one.length);
    return all;
  });
  const types = section(3, concatBytes(Uint8Array.from(leb(total)), new Uint8Array(total)));
  const code = section(10, concatBytes(Uint8Array.from(leb(total)), ...bodies));
  return concatBytes(preamble, startType, types, startExport, code);
};

/** Two megabytes that make an engine lay out twelve billion locals before it has compiled anything. */
export const localsBomb = (): Uint8Array => functionsModule({ body: bodyOf(50_000), times: 250_000 });

/** Sections that claim more items than there are bytes. */
export const claimedItems = (): readonly Uint8Array[] =>
  [1, 2, 3, 4, 5, 6, 7, 9, 10, 11].map((id) =>
    concatBytes(preamble, section(id, Uint8Array.from([...leb(0xffff_ffff), 0, 0, 0]))),
  );

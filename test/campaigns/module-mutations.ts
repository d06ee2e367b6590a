/**
 * Valid modules, mutated at random: each must end in a known way, within its limits, without harm. Reproducible by
 * seed.
 */
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { concatBytes, parseHash, utf8Encode } from "../../src/core/bytes.ts";
import { SigilFault } from "../../src/errors.ts";
import type { RunOutcome, RunRequest, Sandbox } from "../../src/modules/sandbox/run.ts";
import { meterMemory } from "../../src/modules/wasm/meter.ts";
import { parseWasm } from "../../src/modules/wasm/sections.ts";
import { repository } from "../../scripts/run.ts";
import { assembleFile } from "../hostile/assemble.ts";

const limits: RunRequest["limits"] = {
  wallMs: 100,
  memoryPages: 128,
  outputBytes: 16 << 10,
  logBytes: 16 << 10,
  inputBytes: 1 << 10,
  hostCalls: 20,
};
/** Allowed delay past the wall time on a busy machine; a hung run exceeds it. */
const lateMsMax = 5000;

/**
 * Seeds of the mutations: modules that grow, write, read, make host calls, have a start function, and have several
 * memories and tables.
 */
const originals = [
  "path-open",
  "read-past-end",
  "write-after-exit",
  "previous-memory",
  "memory-bomb",
  "many-memories",
  "table-bomb",
  "deep-question",
  "host-call-flood",
  "endless-start",
  "neighbours-clock",
];

const loadOriginals = async (): Promise<readonly Uint8Array[]> => [
  new Uint8Array(await readFile(join(repository, "generated/modules/hello.wasm"))),
  ...(await Promise.all(originals.map(assembleFile))),
];

/** Pseudo-random integers below `bound`, by seed (mulberry32). */
const randomFrom = (seed: number): ((bound: number) => number) => {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
};

type Random = ReturnType<typeof randomFrom>;
type Damage = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const replaced = (bytes: Uint8Array, at: number, byte: number): Uint8Array => {
  const copy = new Uint8Array(bytes);
  copy[at] = byte;
  return copy;
};

/** Interesting bytes: numbers, types, ends, growth, calls. */
const telling = [
  0x00, 0x01, 0x0b, 0x0c, 0x10, 0x11, 0x20, 0x3f, 0x40, 0x41, 0x70, 0x7f, 0x80, 0xfc, 0xfd, 0xff,
];

const damages: readonly Damage[] = [
  (bytes, random) => replaced(bytes, 8 + random(bytes.length - 8), random(256)),
  (bytes, random) => replaced(bytes, 8 + random(bytes.length - 8), telling[random(telling.length)] ?? 0),
  (bytes, random) => {
    const at = random(bytes.length);
    return replaced(bytes, at, (bytes[at] ?? 0) ^ (1 << random(8)));
  },
  (bytes, random) => bytes.slice(0, random(bytes.length)),
  (bytes, random) => {
    const at = random(bytes.length);
    return concatBytes(bytes.subarray(0, at), bytes.subarray(at + 1 + random(8)));
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return concatBytes(bytes.subarray(0, at), bytes.subarray(at, at + 1 + random(16)), bytes.subarray(at));
  },
  (bytes, random, other) =>
    concatBytes(bytes.subarray(0, random(bytes.length)), other.subarray(random(other.length))),
];

const damage = (bytes: Uint8Array, random: Random, other: Uint8Array): Uint8Array => {
  let damaged = bytes;
  // Most are mutated once, so that many stay valid and run.
  for (let times = random(4) === 0 ? 1 + random(4) : 1; times > 0; times -= 1) {
    if (damaged.length < 16) return damaged;
    damaged =
      (damages[random(8) < 5 ? random(3) : random(damages.length)] ?? damages[0])?.(damaged, random, other) ??
      damaged;
  }
  return damaged;
};

/** Half are mutated until the result is still valid, so that it runs; the others at random. */
const damageOne = (from: readonly Uint8Array[], random: Random): Uint8Array => {
  const triesMax = random(2) === 0 ? 40 : 1;
  const pick = (): Uint8Array => from[random(from.length)] ?? new Uint8Array(16);
  let damaged = damage(pick(), random, pick());
  for (let tries = 1; tries < triesMax && !WebAssembly.validate(Uint8Array.from(damaged)); tries += 1) {
    damaged = damage(pick(), random, pick());
  }
  return damaged;
};

/** Parsing and metering of a valid module must refuse it or produce a valid one. */
const checkMeter = (bytes: Uint8Array): string | null => {
  const isValid = WebAssembly.validate(Uint8Array.from(bytes));
  try {
    const metered = meterMemory(parseWasm(bytes), limits.memoryPages);
    if (isValid && !WebAssembly.validate(Uint8Array.from(metered)))
      return "metering made a valid module invalid";
  } catch (cause) {
    if (!(cause instanceof SigilFault)) return `reading threw ${String(cause)}`;
  }
  return null;
};

const checkOutcome = ({ exit, output, usage }: RunOutcome): string | null => {
  if (exit.kind === "crashed") return "its process crashed";
  if (output.length > limits.outputBytes || usage.outputBytes > limits.outputBytes) return "too much output";
  if (usage.logBytes > limits.logBytes) return "too much log";
  if (usage.hostCalls > limits.hostCalls) return "too many host calls";
  const isExact = exit.kind === "exited" || exit.kind === "trapped";
  if (isExact && usage.memoryBytesPeak > limits.memoryPages * 65_536) return "too much memory";
  if (usage.wallMs > limits.wallMs + lateMsMax) return `took ${usage.wallMs} ms`;
  return null;
};

const requestOf = (bytes: Uint8Array): RunRequest => ({
  digest: parseHash(createHash("sha256").update(bytes).digest()),
  bytes: () => Promise.resolve(bytes),
  name: "damaged",
  input: utf8Encode('{"name":"you"}'),
  capabilities: ["canon.read:notes/", "trust.check"],
  limits,
  host: () => Promise.resolve(utf8Encode("{}")),
  signal: new AbortController().signal,
});

export type MutationResult = {
  /** Number of runs by outcome. */
  readonly ends: ReadonlyMap<string, number>;
  /** Delay of each kill past the wall time, ascending. */
  readonly lateMs: readonly number[];
  readonly wrongs: readonly string[];
};

const endOf = ({ exit }: RunOutcome): string => {
  if (exit.kind === "trapped") return `trapped ${exit.trap}`;
  return exit.kind === "killed" ? `killed ${exit.limit}` : exit.kind;
};

export const runMutations = async (
  sandbox: Sandbox,
  options: { readonly count: number; readonly seed: number; readonly onRun?: (done: number) => void },
): Promise<MutationResult> => {
  const from = await loadOriginals();
  const random = randomFrom(options.seed);
  const ends = new Map<string, number>();
  const lateMs: number[] = [];
  const wrongs: string[] = [];
  let begun = 0;
  let done = 0;
  const runNext = async (): Promise<void> => {
    while (begun < options.count) {
      const number = begun;
      begun += 1;
      const bytes = damageOne(from, random);
      const outcome = await sandbox.run(requestOf(bytes));
      ends.set(endOf(outcome), (ends.get(endOf(outcome)) ?? 0) + 1);
      if (endOf(outcome) === "killed wall_time") lateMs.push(outcome.usage.wallMs - limits.wallMs);
      for (const wrong of [checkMeter(bytes), checkOutcome(outcome)]) {
        if (wrong !== null) wrongs.push(`module ${number} of seed ${options.seed}: ${wrong}`);
      }
      done += 1;
      options.onRun?.(done);
    }
  };
  await Promise.all([runNext(), runNext()]);
  return { ends, lateMs: lateMs.sort((a, b) => a - b), wrongs };
};

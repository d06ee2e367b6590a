/** What a module is, read from its bytes, and whether it fits into what a manifest grants. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeError, type SigilError } from "../../../src/errors.ts";
import { moduleBytesMax } from "../../../src/limits.ts";
import { inspectModule } from "../../../src/modules/sandbox/inspect-module.ts";
import {
  checkModule,
  parseCapabilities,
  readablePrefix,
  type Capability,
  type RunLimits,
} from "../../../src/modules/sandbox/limits.ts";
import { preview1 } from "../../../src/modules/wasm/preview1.ts";
import { assemble } from "../../hostile/assemble.ts";
import { errorOf } from "../record/faults.ts";

const limits: RunLimits = {
  wallMs: 1000,
  memoryPages: 16,
  outputBytes: 1 << 20,
  logBytes: 1 << 20,
  inputBytes: 1 << 20,
  hostCalls: 10,
};

const command = (inside: string): Uint8Array =>
  assemble(`(module ${inside} (memory (export "memory") 1) (func (export "_start")))`);

const refusal = (bytes: Uint8Array, capabilities: readonly Capability[] = [], given = limits): SigilError =>
  errorOf(() => checkModule(inspectModule(bytes), capabilities, given));

const hello = `
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
  (import "sigil_v1" "canon_read" (func (param i32 i32) (result i32)))`;

describe("the inspection of a module", () => {
  it("names imports and exports with their types, counts what it holds, says what a manifest must grant", () => {
    const found = inspectModule(
      assemble(`(module ${hello} (memory (export "memory") 2 9) (table 10 funcref) (data (i32.const 0) "12345")
        (func (export "_start") (drop (memory.grow (i32.const 1)))))`),
    );
    expect(found.imports.map(({ module, name, kind, type }) => [module, name, kind, type])).to.deep.equal([
      ["wasi_snapshot_preview1", "fd_write", "function", "(i32, i32, i32, i32) -> (i32)"],
      ["wasi_snapshot_preview1", "random_get", "function", "(i32, i32) -> (i32)"],
      ["sigil_v1", "canon_read", "function", "(i32, i32) -> (i32)"],
    ]);
    expect(found.exports).to.deep.equal([
      { name: "memory", kind: "memory", type: "2..9 pages" },
      { name: "_start", kind: "function", type: "() -> ()" },
    ]);
    expect(found.memories).to.deep.equal([{ initial: 2, max: 9 }]);
    expect(found.tables).to.deep.equal([{ element: "funcref", initial: 10, max: null }]);
    const { functions, dataBytes, startPages, grows, hasStart, needs, uses } = found;
    expect({ functions, dataBytes, startPages, grows, hasStart }).to.deep.equal({
      functions: 4,
      dataBytes: 5,
      startPages: 3,
      grows: true,
      hasStart: false,
    });
    expect([needs, uses]).to.deep.equal([["canon.read"], ["random"]]);
  });

  it("refuses more bytes than a module may have before it looks at them", () => {
    const error = errorOf(() => inspectModule(new Uint8Array(moduleBytesMax + 1)));
    expect(error.kind).to.equal("tooLarge");
  });

  it("names the offset of every way to cut a module short, and never takes one for whole", () => {
    const whole = assemble(`(module ${hello} (memory (export "memory") 1) (data (i32.const 8) "x")
      (func (export "_start") (local i64) (drop (memory.grow (i32.const 1)))))`);
    // A cut between two sections leaves a module that says less; `checkModule` misses its exports.
    const sound: number[] = [];
    for (let bytes = 0; bytes < whole.length; bytes += 1) {
      try {
        inspectModule(whole.subarray(0, bytes));
        sound.push(bytes);
      } catch (cause) {
        expect(String(cause)).to.match(/malformed module at offset \d+/);
      }
    }
    for (const bytes of sound) {
      const cut = whole.slice(0, bytes);
      const valid = WebAssembly.validate(cut);
      if (valid) expect(inspectModule(cut).functions).to.be.lessThan(4 + 1);
    }
    expect(sound.length).to.be.lessThan(12);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["a shared memory", `(module (memory 1 2 shared))`, /shared or 64-bit/],
    ["an atomic instruction", `(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))`, /0xfe/],
  ];
  for (const [what, text, rule] of refused) {
    it(`refuses ${what}`, () => {
      expect(describeError(errorOf(() => inspectModule(assemble(text))))).to.match(rule);
    });
  }
});

describe("the check of a module against what it is granted", () => {
  it("passes a command module that imports the whole of WASI preview 1, whatever of it is there", () => {
    const all = Object.entries(preview1).map(([name, { type }]) => {
      const [params = "", results = ""] = type.split(" -> ").map((part) => part.replaceAll(/[(),]/g, " "));
      return `(import "wasi_snapshot_preview1" "${name}" (func (param ${params}) (result ${results})))`;
    });
    expect(all.length).to.equal(46);
    checkModule(inspectModule(command(all.join("\n"))), [], limits);
  });

  const refusals: readonly (readonly [string, string, string])[] = [
    ["an unknown module", `(import "env" "puts" (func (param i32)))`, `"env"."puts" does not exist`],
    [
      "an unknown function",
      `(import "wasi_snapshot_preview1" "fd_fork" (func))`,
      `"wasi_snapshot_preview1"."fd_fork" does not exist`,
    ],
    [
      "a name that only JavaScript has",
      `(import "wasi_snapshot_preview1" "constructor" (func))`,
      `"constructor" does not exist`,
    ],
    [
      "a wrong type",
      `(import "wasi_snapshot_preview1" "fd_write" (func (param i64) (result i32)))`,
      "is imported as function (i64) -> (i32) and is a function (i32, i32, i32, i32) -> (i32)",
    ],
    [
      "a memory under a function's name",
      `(import "wasi_snapshot_preview1" "fd_write" (memory 1))`,
      "is imported as memory 1.. pages and is a function",
    ],
    [
      "a host function that was not granted",
      `(import "sigil_v1" "trust_check" (func (param i32 i32 i32 i32) (result i32)))`,
      `"sigil_v1"."trust_check" takes the capability trust.check`,
    ],
  ];
  for (const [what, imports, rule] of refusals) {
    it(`names the import: ${what}`, () => {
      const error = refusal(command(imports), ["canon.read:notes/"]);
      expect(error).to.include({ kind: "invalidField", field: "module.imports" });
      expect(describeError(error)).to.contain(rule);
    });
  }

  it("takes a granted host function", () => {
    checkModule(inspectModule(command(hello)), ["canon.read:notes/"], limits);
  });

  it("names the export that is missing, or that is the sandbox's own", () => {
    const write = `(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))`;
    const rules = [
      refusal(assemble(`(module)`)),
      refusal(assemble(`(module (func (export "_start") (param i32)))`)),
      refusal(assemble(`(module ${write} (func (export "_start")))`)),
      refusal(command(`(global (export "sigil:memory_budget") i32 (i32.const 0))`)),
    ].map(describeError);
    expect(rules[0]).to.contain('module.exports must have a function "_start"');
    expect(rules[1]).to.contain('must have a function "_start" () -> ()');
    expect(rules[2]).to.contain('must have a memory "memory"');
    expect(rules[3]).to.contain("are the sandbox's own");
  });

  it("names the limit that a module's start does not fit into", () => {
    const error = refusal(command(`(table 40000 funcref)`), [], { ...limits, memoryPages: 20 });
    expect(describeError(error)).to.equal(
      "limits.memory_pages is 20, and the module's memories and tables take 21 pages at its start",
    );
  });

  it("reads capabilities, and names the one that is none, comes twice or has no prefix", () => {
    const granted = parseCapabilities(["clock", "random", "trust.check", "canon.read:notes/"]);
    expect(readablePrefix(granted)).to.equal("notes/");
    expect(readablePrefix(["clock"])).to.equal(undefined);
    const rules = [
      ["net"],
      ["clock", "clock"],
      ["canon.read:"],
      ["canon.read:a", "canon.read:b"],
      ["canon.read:a b"],
    ];
    const refusals = rules.map((texts) => describeError(errorOf(() => parseCapabilities(texts))));
    expect(refusals.map((text) => text.split(" ")[0])).to.deep.equal([
      "capabilities[0]",
      "capabilities[1]",
      "capabilities[0]",
      "capabilities[1]",
      "capabilities[0]",
    ]);
  });
});

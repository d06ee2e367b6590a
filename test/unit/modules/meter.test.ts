/** The memory budget that is written into a module: exact, for all memories and tables together. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { equalBytes } from "../../../src/core/bytes.ts";
import { describeError } from "../../../src/errors.ts";
import {
  budgetExport,
  chargeOf,
  meterMemory,
  overdrawn,
  pageBytes,
  startExport,
} from "../../../src/modules/wasm/meter.ts";
import { parseWasm } from "../../../src/modules/wasm/sections.ts";
import { assemble } from "../../hostile/assemble.ts";
import { errorOf } from "../record/faults.ts";

type Grow = (delta: number) => number;

const metered = (text: string, pages: number) => {
  const bytes = meterMemory(parseWasm(assemble(text)), pages);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(bytes)));
  return {
    left: (): bigint => (exports[budgetExport] as WebAssembly.Global).value as bigint,
    grow: exports["grow"] as Grow,
    other: exports["other"] as Grow,
    all: exports,
  };
};

const page = BigInt(pageBytes);

describe("the memory budget", () => {
  const one = `(module (memory 2) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`;

  it("lets a memory grow to exactly the limit and traps at the page after it", () => {
    const { grow, left } = metered(one, 8);
    expect(left()).to.equal(6n * page);
    expect(grow(4)).to.equal(2);
    expect(grow(2)).to.equal(6);
    expect(left()).to.equal(0n);
    expect(grow(0)).to.equal(8);
    expect(() => grow(1)).to.throw(WebAssembly.RuntimeError, "unreachable");
    expect(left() + overdrawn).to.equal(0n);
  });

  it("is not fooled by the largest growth there is", () => {
    const { grow, left } = metered(one, 8);
    expect(() => grow(-1)).to.throw(WebAssembly.RuntimeError);
    expect(left() < 0n).to.equal(true);
  });

  it("takes nothing for a growth that the module's own maximum stops", () => {
    const own = `(module (memory 1 2) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`;
    const { grow, left } = metered(own, 8);
    expect(grow(2)).to.equal(-1);
    expect(left()).to.equal(7n * page);
    expect(grow(1)).to.equal(1);
    expect(left()).to.equal(6n * page);
  });

  it("counts several memories against one budget", () => {
    const two = `(module (memory $a 1) (memory $b 1)
      (func (export "grow") (param i32) (result i32) (memory.grow $a (local.get 0)))
      (func (export "other") (param i32) (result i32) (memory.grow $b (local.get 0))))`;
    const { grow, other, left } = metered(two, 8);
    expect(grow(3)).to.equal(1);
    expect(other(3)).to.equal(1);
    expect(left()).to.equal(0n);
    expect(() => other(1)).to.throw(WebAssembly.RuntimeError);
  });

  for (const element of ["funcref", "externref"]) {
    it(`counts the entries of a table of ${element}`, () => {
      const heap = element === "funcref" ? "func" : "extern";
      const table = `(module (memory 1) (table $t 2048 ${element})
        (func (export "grow") (param i32) (result i32) (table.grow $t (ref.null ${heap}) (local.get 0)))
        (func (export "other") (param i32) (result i32) (memory.grow (local.get 0))))`;
      const { grow, other, left } = metered(table, 8);
      expect(left()).to.equal(6n * page);
      expect(grow(2048)).to.equal(2048);
      expect(other(5)).to.equal(1);
      expect(left()).to.equal(0n);
      expect(() => grow(1)).to.throw(WebAssembly.RuntimeError);
    });
  }

  it("leaves everything else of a module working: calls, tables, globals, data and its start", () => {
    const busy = `(module
      (import "e" "f" (func $f (result i32)))
      (type $n (func (result i32)))
      (table $t 1 funcref) (memory 1) (global $g (mut i32) (i32.const 7))
      (elem (i32.const 0) $seven) (data (i32.const 4) "\\2a")
      (func $seven (result i32) (global.get $g))
      (func $first (drop (memory.grow (i32.const 1))) (global.set $g (i32.const 9)))
      (func (export "sum") (result i32)
        (i32.add (i32.add (call_indirect (type $n) (i32.const 0)) (call $f)) (i32.load8_u (i32.const 4))))
      (start $first))`;
    const bytes = meterMemory(parseWasm(assemble(busy)), 4);
    const module = new WebAssembly.Module(Uint8Array.from(bytes));
    const { exports } = new WebAssembly.Instance(module, { e: { f: () => 100 } });
    expect((exports["sum"] as () => number)()).to.equal(7 + 100 + 42);
    (exports[startExport] as () => void)();
    expect((exports["sum"] as () => number)()).to.equal(9 + 100 + 42);
    expect((exports[budgetExport] as WebAssembly.Global).value).to.equal(2n * page - 32n);
  });

  it("gives the same bytes for the same module and limit, and leaves one that never grows as it is", () => {
    const module = parseWasm(assemble(one));
    expect(equalBytes(meterMemory(module, 8), meterMemory(module, 8))).to.equal(true);
    const still = assemble(`(module (memory 1))`);
    expect(meterMemory(parseWasm(still), 1)).to.equal(still);
  });

  it("refuses a module that takes more at its start, tables and all memories counted", () => {
    const start = parseWasm(assemble(`(module (memory 2) (memory 2) (table 2049 funcref))`));
    expect(chargeOf(start)).to.equal(4 * pageBytes + 2049 * 32);
    const error = errorOf(() => meterMemory(start, 5));
    expect(describeError(error)).to.contain("is 5, and the module's memories and tables take more");
    expect(meterMemory(start, 6)).to.equal(start.bytes);
  });
});

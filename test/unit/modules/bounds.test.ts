/** What proposed code may come to, held against it before an engine sees it; approved code is older than the bounds. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeError } from "../../../src/errors.ts";
import {
  moduleFunctionBytesMax,
  moduleFunctionsMax,
  moduleLocalsMax,
  moduleLocalsPerFunctionMax,
} from "../../../src/limits.ts";
import { inspectModule } from "../../../src/modules/sandbox/inspect-module.ts";
import { approvedCode } from "../../../src/modules/wasm/bounds.ts";
import { bodyOf, bodyOfBytes, functionsModule, localsBomb, manyLocals } from "../../hostile/broken.ts";
import { errorOf } from "../record/faults.ts";

const nothing = bodyOf();
const perFunction = moduleLocalsPerFunctionMax;
/** Functions with as many locals as one may have, and the rest of what all may have. */
const full = { body: bodyOf(perFunction), times: Math.floor(moduleLocalsMax / perFunction) };
const rest = moduleLocalsMax % perFunction;

type Row = readonly [what: string, just: () => Uint8Array, past: () => Uint8Array, rule: string];

const rows: readonly Row[] = [
  [
    "functions",
    () => functionsModule({ body: nothing, times: moduleFunctionsMax }),
    () => functionsModule({ body: nothing, times: moduleFunctionsMax + 1 }),
    `has ${moduleFunctionsMax + 1} functions, ${moduleFunctionsMax} is the most`,
  ],
  [
    "locals of one function",
    () => functionsModule({ body: bodyOf(perFunction), times: 1 }),
    () => functionsModule({ body: bodyOf(perFunction + 1), times: 1 }),
    `has a function of ${perFunction + 1} locals or more, ${perFunction} is the most`,
  ],
  [
    "locals of one function in several runs",
    () => functionsModule({ body: bodyOf(1, 0, perFunction - 1), times: 1 }),
    () => functionsModule({ body: bodyOf(1, 0, perFunction - 1, 1), times: 1 }),
    `has a function of ${perFunction + 1} locals or more, ${perFunction} is the most`,
  ],
  [
    "locals of all functions",
    () => functionsModule(full, { body: bodyOf(rest), times: 1 }),
    () => functionsModule(full, { body: bodyOf(rest), times: 1 }, { body: bodyOf(1), times: 1 }),
    `has ${moduleLocalsMax + 1} locals or more in all functions, ${moduleLocalsMax} is the most`,
  ],
  [
    "bytes of one function",
    () => functionsModule({ body: bodyOfBytes(moduleFunctionBytesMax), times: 1 }),
    () => functionsModule({ body: bodyOfBytes(moduleFunctionBytesMax + 1), times: 1 }),
    `has a function of ${moduleFunctionBytesMax + 1} bytes, ${moduleFunctionBytesMax} is the most`,
  ],
];

describe("the bounds of proposed code", () => {
  for (const [what, just, past, rule] of rows) {
    it(`pass as many ${what} as there may be, and name the rule and the offset at one more`, () => {
      expect(inspectModule(just()).exports).to.have.length(1);
      expect(WebAssembly.validate(just().slice())).to.equal(true);
      const error = errorOf(() => inspectModule(past()));
      expect(error.kind).to.equal("malformedModule");
      expect(describeError(error)).to.match(/at offset [1-9]\d*: /);
      expect(describeError(error)).to.contain(rule);
    });
  }

  it("refuse two megabytes that declare twelve billion locals", () => {
    const bytes = localsBomb();
    expect(bytes.length).to.be.lessThan(2_100_000);
    expect(describeError(errorOf(() => inspectModule(bytes)))).to.contain("locals or more in all functions");
  });

  it("count runs of 2³² locals without wrapping round to few", () => {
    const of = (bytes: Uint8Array): string => describeError(errorOf(() => inspectModule(bytes)));
    expect(of(manyLocals())).to.contain("has a function of 4294967295 locals or more");
    const wrapping = functionsModule({ body: bodyOf(1, 0xffff_ffff), times: 1 });
    expect(of(wrapping)).to.contain("has a function of 4294967296 locals or more");
  });

  it("are not asked of code that was approved before there were any, but for functions", () => {
    for (const [what, , past, rule] of rows) {
      if (what === "functions") {
        expect(describeError(errorOf(() => inspectModule(past(), approvedCode)))).to.contain(rule);
      } else expect(inspectModule(past(), approvedCode).exports).to.have.length(1);
    }
  });
});

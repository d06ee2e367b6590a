/** Refused decisions and runs of version 2: a valid one with one change each. */
import type { CborMap } from "@sigil/core/cbor";
import * as good from "./payloads.ts";
import type { PayloadCase } from "./refused-principals.ts";

const request = good.chain2["request"] as CborMap;
const whole = good.wholeChain2;
const short = new Uint8Array(31);
const hash = new Uint8Array(32);

type Change = readonly [name: string, change: CborMap, field: string, rule: string];

const changes: readonly Change[] = [
  ["with a score, which follows from z", { score: 0.7 }, "payload.score", "is not a field of this kind"],
  ["with steps", { steps: [] }, "payload.steps", "is not a field of this kind"],
  ["with z of null", { z: null }, "payload.z", "must be a number"],
  ["with a review band of null", { review: null }, "payload.review", "must be a map, or be left out"],
  [
    "with a bare digest of its input",
    { request: { ...request, input_digest: hash } },
    "payload.request.input_digest",
    "is not a field of this kind",
  ],
  [
    "with a short commitment",
    { request: { ...request, input: short } },
    "payload.request.input",
    "must be 32 bytes",
  ],
  [
    "with an empty session",
    { request: { ...request, session: "" } },
    "payload.request.session",
    "must not be empty",
  ],
  [
    "with the number 0",
    { caller_seq: 0 },
    "payload.caller_seq",
    "must be an integer from 1 to 9007199254740991",
  ],
  [
    "with a context of nothing",
    { context: {} },
    "payload.context",
    "must have 1 to 64 entries, or be left out",
  ],
  ["with a short context", { context: { amount: short } }, "payload.context.amount", "must be 32 bytes"],
  ["with no rules", { rules: [] }, "payload.rules", "must not be empty, or be left out"],
  ["with a rule twice", { rules: ["a", "a"] }, "payload.rules", "must be distinct"],
  [
    "with nine delegations",
    { delegation: Array.from({ length: 9 }, (_, at) => new Uint8Array(32).fill(at)) },
    "payload.delegation",
    "must have at most 8 items",
  ],
  ["with an approval without a record", { approval: { id: "a" } }, "payload.approval.record", "is missing"],
  [
    "with a budget of less than nothing",
    { budgets: { daily: { spent: 1, left: -1 } } },
    "payload.budgets.daily.left",
    "must be an integer from 0 to 9007199254740991",
  ],
  [
    "that allows without a model",
    { model: "" },
    "payload.verdict",
    "cannot be allow without z, threshold and model",
  ],
];

const run = good.moduleRun2;

export const decisionCases: readonly PayloadCase[] = [
  ...changes.map(([name, change, field, rule]): PayloadCase => [
    `a decision of version 2 ${name}`,
    "frozen_chain",
    { ...whole, ...change },
    field,
    rule,
    2,
  ]),
  [
    "a decision of version 2 that allows without z",
    "frozen_chain",
    good.without(whole, "z"),
    "payload.verdict",
    "cannot be allow without z, threshold and model",
    2,
  ],
  [
    "a caller's head of nobody",
    "caller_head",
    { ...good.callerHead, caller: "" },
    "payload.caller",
    "must not be empty",
  ],
  [
    "a run of version 2 with a bare digest",
    "module_run",
    { ...run, input_digest: hash },
    "payload.input_digest",
    "is not a field of this kind",
    2,
  ],
  [
    "a run of version 2 that exited without an output",
    "module_run",
    good.without(run, "output"),
    "payload.output",
    'must fit the end "exited"',
    2,
  ],
];

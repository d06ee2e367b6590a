/** A server that speaks gRPC well and lies in what it says: contradictions, counts, and streams. */
import { status as Code } from "@grpc/grpc-js";
import type { BatchCheckResult, CheckResponse } from "@sigil/client";
import { always, startServer, type Behaviour } from "../unit/client/server.ts";
import { honest, lies } from "./lies.ts";
import { control, fault, type Call, type Row } from "./row.ts";
import { principal, type World } from "./world.ts";

type Outcome = BatchCheckResult["outcome"];

/** What the lies are told of: an allow about the caller. */
const truth: CheckResponse = { ...honest, subject: principal };
const decision: Outcome = { $case: "decision", value: truth };
const failed = (code: number): Outcome => ({ $case: "error", value: { code, message: "m", details: [] } });

const results = (...outcomes: readonly Outcome[]): Behaviour => ({
  batchCheck: (_call, answer) =>
    answer(null, { results: outcomes.map((outcome) => ({ outcome })), sharedProof: undefined }),
});

type Said = readonly (readonly [correlationId: string, outcome: Outcome])[];

/** Says this to the first question of a stream, and ends it so. */
const streamed = (said: Said, end: "ok" | "error" | "cut" | "never"): Behaviour => ({
  streamChecks: (call) => {
    call.on("error", () => {});
    call.once("data", () => {
      for (const [correlationId, outcome] of said) call.write({ correlationId, outcome });
      if (end === "ok") call.end();
      if (end === "error") call.emit("error", { code: Code.INTERNAL, details: "faulty" });
      if (end === "cut") call.destroy();
    });
  },
});

type Given = readonly [name: string, what: string, call: Call, behaviour: Behaviour, expect?: "either"];

const batches: readonly Given[] = [
  ["batch-none", "no result for two checks", "batch", results()],
  ["batch-fewer", "one result for two checks", "batch", results(decision)],
  ["batch-more", "three results for two checks", "batch", results(decision, decision, decision)],
  ["batch-empty-items", "results that hold nothing", "batch", results(undefined, undefined), "either"],
  [
    "batch-ok-errors",
    "results that are errors with status OK",
    "batch",
    results(failed(0), failed(0)),
    "either",
  ],
  ["batch-errors", "results that are errors", "batch", results(failed(14), failed(9)), "either"],
];

const streams: readonly Given[] = [
  ["stream-other", "an allow of a question that nobody asked", "stream", streamed([["3", decision]], "ok")],
  ["stream-nameless", "an allow of no question by name", "stream", streamed([["", decision]], "ok")],
  ["stream-case", "an allow of almost the same name", "stream", streamed([["1 ", decision]], "ok")],
  ["stream-ends", "a stream that ends before it answers", "stream", streamed([], "ok"), "either"],
  [
    "stream-ends-early",
    "a stream that ends after the first answer, a failure",
    "stream",
    streamed([["1", failed(14)]], "ok"),
    "either",
  ],
  ["stream-fails", "a stream that fails before it answers", "stream", streamed([], "error")],
  ["stream-cut", "a stream that is cut before it answers", "stream", streamed([], "cut")],
  ["stream-silent", "a stream that never answers", "stream", streamed([], "never")],
  [
    "stream-empty-items",
    "answers that hold nothing",
    "stream",
    streamed(
      [
        ["1", undefined],
        ["2", undefined],
      ],
      "ok",
    ),
    "either",
  ],
  [
    "stream-ok-errors",
    "answers that are errors with status OK",
    "stream",
    streamed(
      [
        ["1", failed(0)],
        ["2", failed(0)],
      ],
      "ok",
    ),
    "either",
  ],
];

const calls = ["check", "batch", "stream"] as const;

const nameOf = (what: string): string =>
  what
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");

export const replyFaults = async ({ stack }: World): Promise<readonly Row[]> => {
  const serve = async (behaviour: Behaviour): Promise<string> =>
    stack.use(await startServer(behaviour)).target;
  const told = await Promise.all(
    lies.map(async ([what, lie]) => {
      const target = await serve(always({ ...truth, ...lie }));
      return calls.map((call) =>
        fault({
          name: `lie-${nameOf(what)}-${call}`,
          what: `a contradiction: ${what}`,
          target,
          call,
          expect: "either",
        }),
      );
    }),
  );
  const honestTarget = await serve(always(truth));
  const others = await Promise.all(
    [...batches, ...streams].map(async ([name, what, call, behaviour, expect = "error" as const]) =>
      fault({ name, what, target: await serve(behaviour), call, expect }),
    ),
  );
  return [
    ...calls.map((call) =>
      control({
        name: `control-told-${call}`,
        what: "the liars' server, without a lie",
        target: honestTarget,
        call,
      }),
    ),
    ...told.flat(),
    ...others,
  ];
};

/** An inspection is heard to its end however often the stream breaks, and nothing less than its end is a report. */
import { InspectionStep, InspectResponse, SigilError, type InspectRequest } from "@sigil/client";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { hearInspection } from "../../../src/cli/deployment/fsck-live.ts";
import type { Terminal } from "../../../src/cli/terminal/terminal.ts";

type Part = NonNullable<InspectResponse["part"]>;

const id = "01890000-0000-4000-8000-000000000000";
const head: Part = {
  $case: "head",
  value: { inspectionId: id, origin: "sigil.test", ledgerSize: 9n, checkpoint: "note" },
};
const progress: Part = {
  $case: "progress",
  value: { step: InspectionStep.INSPECTION_STEP_RECORDS, done: 4n, total: 9n },
};
const finding = (position: bigint | undefined): Part => ({
  $case: "finding",
  value: { position, step: "seal", rule: "it does not open" },
});
const end = (found: bigint): Part => ({ $case: "end", value: { found, recordsRead: 9n } });

const broken = (code: Code): Error =>
  SigilError.from(
    Object.assign(new Error("broken off"), { code, details: "broken off", metadata: undefined }),
  );

/** Streams one after the other, each of parts and then an error or an end. */
const hear = async (streams: readonly (readonly (Part | Error)[])[]) => {
  const asked: string[] = [];
  const lines: string[] = [];
  const inspect = async function* ({ inspectionId = "" }: Partial<InspectRequest>) {
    const parts = streams[asked.length] ?? [];
    asked.push(inspectionId);
    for (const part of parts) {
      if (part instanceof Error) throw part;
      yield { part } as InspectResponse;
    }
  };
  const terminal = { progress: (line: string) => lines.push(line) } as unknown as Terminal;
  const backup = { inspect, backup: inspect } as never;
  const outcome: unknown = await hearInspection({
    backup,
    terminal,
    untilMs: undefined,
    nowMs: () => 0,
  }).catch((error: unknown) => error);
  return { outcome, asked, lines };
};

describe("fsck --live", () => {
  it("reports what was found, the lowest position first", async () => {
    const erased: Part = { $case: "erased", value: { tenant: "gone", records: 3n } };
    const { outcome, asked } = await hear([
      [head, progress, finding(4n), finding(undefined), erased, end(5n)],
    ]);
    expect(asked).to.deep.equal([""]);
    const problem = { step: "seal", rule: "it does not open" };
    expect(outcome).to.deep.equal({
      origin: "sigil.test",
      checkpoint: "note",
      report: {
        ok: false,
        size: 9n,
        erased: [{ tenant: "gone", records: 3n }],
        problems: [
          { position: 4n, ...problem },
          { position: null, ...problem },
        ],
        total: 5,
        first: { position: 4n, ...problem },
      },
    });
  });

  it("goes on hearing when the token ends or the stream breaks, by the inspection's id", async () => {
    const { outcome, asked, lines } = await hear([
      [head, progress, broken(Code.UNAUTHENTICATED)],
      [head, progress, finding(1n), broken(Code.UNAVAILABLE)],
      [head, end(0n)],
    ]);
    expect(asked).to.deep.equal(["", id, id]);
    // What came with the stream that broke comes again, if it still holds.
    expect(outcome).to.have.nested.property("report.ok", true);
    expect(lines[0]).to.equal("records: 4 of 9 (44 %)");
    expect(lines.filter((line) => line.endsWith(": going on"))).to.have.length(2);
  });

  it("does not try again where a try brought nothing, nor what is refused", async () => {
    for (const code of [Code.UNAUTHENTICATED, Code.UNAVAILABLE]) {
      const { outcome, asked } = await hear([
        [head, broken(code)],
        [head, end(0n)],
      ]);
      expect(outcome).to.be.instanceOf(SigilError);
      expect(asked).to.have.length(1);
    }
    const refused = await hear([[head, progress, broken(Code.DATA_LOSS)]]);
    expect(refused.outcome).to.be.instanceOf(SigilError);
    expect(refused.asked).to.have.length(1);
  });

  it("calls nothing clean that has no end, no head or contradicts itself", async () => {
    const streams = [[head, progress], [end(0n)], [head, finding(3n), end(0n)], [head, end(2n)]] as const;
    for (const parts of streams) {
      const { outcome } = await hear([parts]);
      expect(outcome).to.have.nested.property("error.kind", "indeterminate");
    }
  });
});

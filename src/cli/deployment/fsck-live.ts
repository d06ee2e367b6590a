/** `sigil fsck --live`: follows a server's inspection of its own disk to its end, reattaching after interruptions. */
import { InspectionStep, SigilError, type InspectResponse, type SigilConnection } from "@sigil/client";
import { fail } from "../../errors.ts";
import type { Problem } from "../../ledger/walk/findings.ts";
import type { FsckReport } from "../../ledger/fsck/fsck.ts";
import type { ErasedTenant } from "../../ledger/walk/keyless.ts";
import { describeCallError } from "../call/connection.ts";
import { Pace } from "../terminal/pace.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** The result of an inspection. */
export type LiveReport = {
  readonly origin: string;
  /** The signed checkpoint of the snapshot. */
  readonly checkpoint: string;
  readonly report: FsckReport;
};

export type Hearing = {
  readonly backup: SigilConnection["backup"];
  readonly terminal: Terminal;
  /** Time to give up, on the clock of `nowMs`; undefined for never. */
  readonly untilMs: number | undefined;
  readonly nowMs: () => number;
};

type Part = NonNullable<InspectResponse["part"]>;
type Head = Extract<Part, { $case: "head" }>["value"];

const brokenOff = ["UNAVAILABLE", "UNAUTHENTICATED", "CANCELLED"];

const stepNames: Readonly<Record<number, string>> = {
  [InspectionStep.INSPECTION_STEP_RECORDS]: "records",
  [InspectionStep.INSPECTION_STEP_INDEXES]: "indexes",
};

/** State of one stream. Progress in it permits a retry. */
class Stream {
  readonly #show: (line: string) => void;
  readonly #pace: Pace;
  readonly #problems: Problem[] = [];
  readonly #erased: ErasedTenant[] = [];
  head: Head | undefined;
  hasProgress = false;

  constructor(show: (line: string) => void, pace: Pace) {
    this.#show = show;
    this.#pace = pace;
  }

  /** @returns the report, with the last part. */
  take(part: Part | undefined): LiveReport | undefined {
    // Unknown parts of newer servers are ignored.
    if (part === undefined) return undefined;
    switch (part.$case) {
      case "head":
        this.head = part.value;
        return undefined;
      case "progress": {
        this.hasProgress = true;
        const { step, done, total } = part.value;
        this.#show(this.#pace.describe({ step: stepNames[step] ?? "inspection", done, total }));
        return undefined;
      }
      case "finding": {
        const { position, step, rule } = part.value;
        this.#problems.push({ position: position ?? null, step, rule });
        return undefined;
      }
      case "erased":
        this.#erased.push(part.value);
        return undefined;
      case "end":
        return this.#end(part.value);
    }
  }

  #end({ found, recordsRead }: Extract<Part, { $case: "end" }>["value"]): LiveReport {
    const head = this.head ?? fail({ kind: "indeterminate", rule: "the inspection has no head" });
    const problems = this.#problems;
    // Problems were counted but not sent: fail instead of reporting damage as clean.
    if (found < BigInt(problems.length) || (found > 0n && problems.length === 0)) {
      fail({ kind: "indeterminate", rule: "the inspection contradicts itself" });
    }
    const report = {
      ok: found === 0n,
      size: recordsRead,
      erased: this.#erased,
      problems,
      total: Number(found),
      first: problems[0],
    };
    return { origin: head.origin, checkpoint: head.checkpoint, report };
  }
}

/** @throws SigilError; indeterminate. */
export const hearInspection = async ({ backup, terminal, untilMs, nowMs }: Hearing): Promise<LiveReport> => {
  const pace = new Pace();
  let inspectionId = "";
  for (;;) {
    const stream = new Stream((line) => terminal.progress(line), pace);
    const options = untilMs === undefined ? {} : { deadlineMs: Math.max(1, untilMs - nowMs()) };
    try {
      for await (const { part } of backup.inspect({ inspectionId }, options)) {
        const report = stream.take(part);
        if (report !== undefined) return report;
      }
      return fail({ kind: "indeterminate", rule: "the inspection broke off before its end" });
    } catch (error) {
      const isBroken = error instanceof SigilError && brokenOff.includes(error.codeName);
      if (!isBroken || !stream.hasProgress || stream.head === undefined) throw error;
      // The token expired or a proxy closed the stream; the inspection continues on the server, so reattach.
      inspectionId = stream.head.inspectionId;
      terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: going on`);
    }
  }
};

/**
 * Live fsck: checks a snapshot of everything on disk while the server serves. One at a time. Progress is streamed, and
 * the inspection survives its stream for a while: a token may expire before a long inspection ends, and the next call
 * reattaches. Without listeners it is cancelled after `liveUnheardMsMax`.
 */
import { setTimeout as pause } from "node:timers/promises";
import { fail, SigilFault } from "../../errors.ts";
import { liveProgressMs, liveUnheardMsMax, liveWorkMsMax } from "../../limits.ts";
import { readsAcross, type Caller } from "../../identity/caller.ts";
import type { Problem } from "../../ledger/walk/findings.ts";
import {
  inspectPinned,
  type FsckOptions,
  type FsckProgress,
  type FsckReport,
} from "../../ledger/fsck/fsck.ts";
import type { ErasedTenant } from "../../ledger/walk/keyless.ts";
import { holdHeapSmall } from "./small-heap.ts";
import type { PinnedLedger } from "../../ledger/walk/pinned.ts";

export type InspectionHead = {
  /** Id for reattaching. */
  readonly id: string;
  readonly origin: string;
  readonly size: bigint;
  readonly checkpoint: string;
};

export type InspectionPart =
  | { readonly kind: "head"; readonly head: InspectionHead }
  | { readonly kind: "progress"; readonly progress: FsckProgress }
  | { readonly kind: "finding"; readonly problem: Problem }
  | { readonly kind: "erased"; readonly tenant: ErasedTenant }
  | { readonly kind: "end"; readonly found: number; readonly size: bigint };

export type InspectionService = AsyncDisposable & {
  /**
   * @param inspectionId of one in progress, or "" to begin one.
   * @throws tenantForbidden, overQuota, notFound, notServing, storeFailed, cancelled.
   */
  readonly inspect: (
    caller: Caller,
    inspectionId: string,
    signal: AbortSignal,
  ) => AsyncIterable<InspectionPart>;
};

export type InspectionDependencies = {
  readonly ledger: {
    readonly reader: { readonly origin: string };
    readonly pin: () => Promise<PinnedLedger>;
  };
  /** Rules besides the ledger's own, for one inspection. */
  readonly rules: () => Pick<FsckOptions, "inspectGroup" | "inspectEnd">;
  readonly newId: () => string;
  readonly monotonicMs: () => number;
  readonly onEnd: (head: InspectionHead, report: FsckReport) => void;
  /** For tests; default `liveUnheardMsMax`. */
  readonly unheardMsMax?: number;
};

/**
 * Limits the duty cycle to one half: after each piece of work pauses as long as it took. @throws cancelled if `signal`
 * has aborted.
 */
export const restBetween = (
  monotonicMs: () => number,
  signal: AbortSignal,
): (() => Promise<void> | undefined) => {
  let began = monotonicMs();
  return () => {
    if (signal.aborted) fail({ kind: "cancelled" });
    const workedMs = monotonicMs() - began;
    if (workedMs < liveWorkMsMax) return undefined;
    return pause(workedMs).then(() => {
      began = monotonicMs();
    });
  };
};

class LiveInspection {
  readonly head: InspectionHead;
  readonly #dependencies: InspectionDependencies;
  readonly #abort = new AbortController();
  readonly #outcome: Promise<FsckReport>;
  #progress: FsckProgress | undefined;
  #listeners = 0;
  #unheard: NodeJS.Timeout | undefined;
  /** True once its report was delivered completely, or it timed out without a listener. */
  isOver = false;

  constructor(pinned: PinnedLedger, dependencies: InspectionDependencies) {
    const { ledger, newId } = dependencies;
    this.#dependencies = dependencies;
    this.head = {
      id: newId(),
      origin: ledger.reader.origin,
      size: pinned.size,
      checkpoint: pinned.checkpoint,
    };
    this.#outcome = this.#run(pinned);
    // Listeners get the error; avoids an unhandled rejection.
    this.#outcome.catch(() => {});
  }

  get isHeard(): boolean {
    return this.#listeners > 0;
  }

  async *hear(signal: AbortSignal): AsyncGenerator<InspectionPart> {
    this.#listeners += 1;
    clearTimeout(this.#unheard);
    try {
      yield { kind: "head", head: this.head };
      let shown: FsckProgress | undefined;
      while (!(await this.#endsWithin(liveProgressMs, signal))) {
        if (signal.aborted) fail({ kind: "cancelled" });
        // Repeats unchanged progress as a heartbeat, so that a call with an expired token ends.
        shown = this.#progress ?? shown;
        if (shown !== undefined) yield { kind: "progress", progress: shown };
      }
      const { problems, erased, total, size, first } = await this.#outcome;
      // Always include the problem with the lowest position, even if the list was truncated.
      const isListed = first === undefined || problems.includes(first);
      for (const problem of isListed ? problems : [first, ...problems.slice(1)])
        yield { kind: "finding", problem };
      for (const tenant of erased) yield { kind: "erased", tenant };
      yield { kind: "end", found: total, size };
      this.isOver = true;
    } finally {
      this.#listeners -= 1;
      if (!this.isHeard && !this.isOver) {
        this.#unheard = setTimeout(
          () => void this.end(),
          this.#dependencies.unheardMsMax ?? liveUnheardMsMax,
        );
      }
    }
  }

  /** Cancels it; resolves when its last read has ended. */
  async end(): Promise<void> {
    this.isOver = true;
    clearTimeout(this.#unheard);
    this.#abort.abort();
    await this.#outcome.catch(() => {});
  }

  async #run(pinned: PinnedLedger): Promise<FsckReport> {
    const { monotonicMs, rules, onEnd } = this.#dependencies;
    const { signal } = this.#abort;
    using _ = holdHeapSmall();
    try {
      const report = await inspectPinned(pinned, restBetween(monotonicMs, signal), {
        ...rules(),
        signal,
        onProgress: (progress) => {
          this.#progress = progress;
        },
      });
      onEnd(this.head, report);
      return report;
    } finally {
      await pinned[Symbol.asyncDispose]();
    }
  }

  async #endsWithin(ms: number, signal: AbortSignal): Promise<boolean> {
    const waiting = new AbortController();
    const stop = (): void => waiting.abort();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await Promise.race([
        this.#outcome.then(
          () => true,
          () => true,
        ),
        pause(ms, false, { signal: waiting.signal }).catch(() => false),
      ]);
    } finally {
      signal.removeEventListener("abort", stop);
      stop();
    }
  }
}

class Inspections implements InspectionService {
  readonly #dependencies: InspectionDependencies;
  #current: LiveInspection | undefined;
  #isBeginning = false;

  constructor(dependencies: InspectionDependencies) {
    this.#dependencies = dependencies;
  }

  async *inspect(caller: Caller, inspectionId: string, signal: AbortSignal): AsyncGenerator<InspectionPart> {
    if (!readsAcross(caller)) {
      const rule = "an inspection reads every tenant's records: it takes Root of tenant system";
      fail({ kind: "tenantForbidden", tenant: caller.tenant, rule });
    }
    yield* (inspectionId === "" ? await this.#begin() : this.#find(inspectionId)).hear(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#current?.end();
  }

  /** Starts an inspection, replacing one without listeners. */
  async #begin(): Promise<LiveInspection> {
    const before = this.#current;
    if (this.#isBeginning || (before !== undefined && before.isHeard && !before.isOver)) {
      const rule = "an inspection is under way on this server; wait for its end, then call again";
      return fail({ kind: "overQuota", reason: "INSPECTIONS", limit: 1, rule });
    }
    this.#isBeginning = true;
    try {
      await before?.end();
      const made = new LiveInspection(await this.#dependencies.ledger.pin(), this.#dependencies);
      this.#current = made;
      return made;
    } finally {
      this.#isBeginning = false;
    }
  }

  #find(id: string): LiveInspection {
    const current = this.#current;
    if (current?.head.id === id && !current.isOver) return current;
    throw new SigilFault({ kind: "notFound", what: "inspection", id });
  }
}

export const createInspectionService = (dependencies: InspectionDependencies): InspectionService =>
  new Inspections(dependencies);

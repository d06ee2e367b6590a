/**
 * One run, from request to record: a trust decision, then a check of the module's state against the request, then of
 * its code against its digest; only then does it run in a sandbox. The outcome is recorded durably before the caller is
 * answered. Source: docs/spec/module.md §2.
 */
import { modulePrefix, moduleRunPrefix, saltBytes } from "@sigil/core/record";
import { sha256 } from "@sigil/core/hash";
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { fail, SigilFault, type SigilError } from "../errors.ts";
import type { ModulePayload, ModuleRunLimits } from "@sigil/core/record";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { CheckQuestion } from "../trust/decision.ts";
import type { CodeFiles } from "./code-files.ts";
import type { RunAsked, RunDone } from "./domain.ts";
import { hostOf, type HostFunctions } from "./hosting.ts";
import { parseCapabilities, type RunLimits } from "./sandbox/limits.ts";
import {
  busyRefusal,
  codeRefusal,
  deniedBy,
  type Decided,
  refusalOf,
  runAction,
  type Refusal,
} from "./run-refusals.ts";
import type { ModuleRegistry, Standing } from "./registry.ts";
import type { RunOutcome, Sandbox } from "./sandbox/run.ts";
import {
  endingOf,
  errorOf,
  runRecord,
  usageOf,
  type Ending,
  type RunFacts,
  type RunResult,
} from "./run-record.ts";

/** The session is the run's id, which links the decision and its run. */
export type RunQuestion = Pick<CheckQuestion, "action" | "target" | "session" | "input" | "minLevel">;

/** Receives log and output as they arrive. */
export type RunWatch = {
  readonly onOutput: (chunk: Uint8Array) => void;
  readonly onLog: (chunk: Uint8Array) => void;
};

export type RunningDependencies = {
  readonly ledger: Pick<Ledger, "append">;
  readonly registry: ModuleRegistry;
  readonly files: CodeFiles;
  readonly sandbox: Sandbox;
  /** Upper limits for every run, regardless of its manifest. */
  readonly caps: RunLimits;
  /** Makes a recorded decision like any check; durable when it resolves. */
  readonly decide: (caller: Caller, question: RunQuestion, call: CallContext) => Promise<Decided>;
  readonly host: HostFunctions;
  /** A UUIDv7. */
  readonly newId: (nowMs: number) => string;
  readonly randomBytes: (bytes: number) => Uint8Array;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly onRun: (end: string, elapsedMs: number) => void;
  readonly onFault: (cause: unknown) => void;
  readonly isStopping: () => boolean;
  /** Aborts when the server stops answering calls. */
  readonly closing: AbortSignal;
};

/** A run after its decision. */
type Attempt = {
  readonly caller: Caller;
  readonly asked: RunAsked;
  readonly call: CallContext;
  readonly standing: Standing;
  readonly decided: Decided;
  readonly limits: ModuleRunLimits;
  readonly facts: RunFacts;
  readonly startMs: number;
};

const limitsOf = (payload: ModulePayload, caps: RunLimits, wallMs: number): ModuleRunLimits => ({
  ...caps,
  wallMs: Math.min(payload.limits.wallMs, caps.wallMs, wallMs === 0 ? Infinity : wallMs),
  memoryPages: Math.min(payload.limits.memoryPages, caps.memoryPages),
  outputBytes: Math.min(payload.limits.outputBytes, caps.outputBytes),
});

export class Running {
  readonly #deps: RunningDependencies;

  constructor(deps: RunningDependencies) {
    this.#deps = deps;
  }

  /** @throws denied, notFound, moduleRefused, moduleAltered, runsBusy, tooLarge, run…, notServing, cancelled. */
  async run(caller: Caller, asked: RunAsked, call: CallContext, watch?: RunWatch): Promise<RunDone> {
    const attempt = await this.#ask(caller, asked, call);
    const refused = await this.#refusalOf(attempt);
    if (refused !== null) return this.#refuse(attempt, refused);
    return this.#runNow(attempt, watch);
  }

  /** Makes the decision before anything but the module's record is read. */
  async #ask(caller: Caller, asked: RunAsked, call: CallContext): Promise<Attempt> {
    const { registry, decide, caps, newId, nowMs, monotonicMs } = this.#deps;
    const { input } = asked;
    if (input.length > caps.inputBytes) {
      fail({ kind: "tooLarge", what: "input", bytes: input.length, limit: caps.inputBytes });
    }
    const startMs = monotonicMs();
    const module = modulePrefix + asked.name;
    const standing = await registry.find(module);
    const ts = nowMs();
    const id = moduleRunPrefix + newId(ts);
    const minLevel = standing?.payload.minLoa;
    const question = { action: runAction, target: module, session: id, input, minLevel };
    const decided = await decide(caller, question, call);
    if (standing === undefined) {
      // Denied before existence is checked, so that the caller does not learn whether the module exists.
      if (decided.verdict !== "allow") return fail(deniedBy(decided, module));
      return fail({ kind: "notFound", what: "module", id: asked.name });
    }
    const { payload, approved } = standing;
    const limits = limitsOf(payload, caps, asked.wallMs);
    const facts: RunFacts = {
      id,
      tenant: caller.tenant,
      ts,
      module,
      version: Number(approved.record.version),
      digest: payload.digest,
      otherDigest: null,
      caller: caller.principal,
      input: { digest: sha256(input), bytes: input.length },
      limits,
      decision: decided.hash,
      moduleRecord: approved.record.record.hash,
    };
    return { caller, asked, call, standing, decided, limits, facts, startMs };
  }

  async #refusalOf({ asked, standing, decided, facts }: Attempt): Promise<Refusal | null> {
    const { digest } = standing.payload;
    if (decided.verdict !== "allow") {
      const { reason } = decided;
      return { reason, other: null, error: ({ module, run }) => ({ ...deniedBy(decided, module), run }) };
    }
    const { version, tombstone } = standing.approved.record;
    if (tombstone) return refusalOf("MODULE_RETIRED", "is retired", digest, asked.digest);
    if (asked.version !== 0n && asked.version !== version) {
      const other = await this.#digestAt(facts.module, asked.version);
      return refusalOf("MODULE_VERSION", `is at version ${version}, not ${asked.version}`, digest, other);
    }
    if (asked.digest !== null && !equalBytes(asked.digest, digest)) {
      const rule = `has the code ${toHex(digest)}, not ${toHex(asked.digest)}`;
      return refusalOf("MODULE_DIGEST", rule, digest, asked.digest);
    }
    const state = await this.#deps.files.check(digest);
    return state.kind === "whole" ? null : codeRefusal(state, digest);
  }

  /** The code digest of an inactive version that the caller requested. */
  async #digestAt(id: string, version: bigint): Promise<Hash | null> {
    try {
      return (await this.#deps.registry.at(id, version)).payload.digest;
    } catch (error) {
      if (error instanceof SigilFault && error.error.kind === "notFound") return null;
      throw error;
    }
  }

  async #refuse(attempt: Attempt, { reason, other, error }: Refusal): Promise<never> {
    const isDenied = attempt.decided.verdict !== "allow";
    const facts = { ...attempt.facts, otherDigest: other };
    const end = isDenied ? "denied" : "refused";
    await this.#record(attempt, facts, { end, exitCode: null, reason, used: null });
    return fail(error(ofRun(attempt)));
  }

  async #runNow(attempt: Attempt, watch: RunWatch | undefined): Promise<RunDone> {
    const { call, limits, facts } = attempt;
    const outcome = await this.#inSandbox(attempt, watch);
    if ("error" in outcome) return this.#refuse(attempt, outcome);
    const { exit, output, logTail } = outcome;
    const why = (): string => this.#whyStopped(attempt);
    const ending: Ending = endingOf(exit, why);
    const usage = usageOf(outcome.usage);
    const outputDigest = sha256(output);
    const result: RunResult = { ...ending, used: ending.end === "refused" ? null : { usage, outputDigest } };
    const position = await this.#record(attempt, facts, result);
    const error = errorOf(exit, limits, ofRun(attempt), () => stoppedBy(why(), call));
    if (error !== undefined) return fail(error);
    return {
      output,
      exitCode: ending.exitCode ?? 0,
      logTail,
      usage,
      limits,
      auditId: attempt.decided.auditId,
      runId: facts.id,
      position,
      version: attempt.standing.approved.record.version,
      digest: facts.digest,
      outputDigest,
    };
  }

  /** Runs it in a sandbox; returns the outcome or why it did not start. */
  async #inSandbox(attempt: Attempt, watch: RunWatch | undefined): Promise<RunOutcome | Refusal> {
    const { caller, asked, call, limits, standing, facts } = attempt;
    const { sandbox, closing, host, files } = this.#deps;
    const { digest, capabilities: granted } = standing.payload;
    using linked = link(call.signal, closing);
    const { signal } = linked;
    const capabilities = parseCapabilities(granted);
    let refused: Refusal | undefined;
    const bytes = async (): Promise<Uint8Array> => {
      const code = await files.read(digest);
      if (code.kind === "whole") return code.bytes;
      refused = codeRefusal(code, digest);
      throw new Error(`the code is ${code.kind}`);
    };
    try {
      return await sandbox.run({
        digest,
        bytes,
        name: asked.name,
        tenant: caller.tenant,
        input: asked.input,
        capabilities,
        limits,
        host: hostOf(host, { caller, call: { ...call, signal }, session: facts.id, capabilities }),
        ...watch,
        signal,
      });
    } catch (error) {
      return refused ?? this.#unbegun(error);
    }
  }

  /** The sandbox rejects only runs that have not started; an unexpected error means a broken sandbox. */
  #unbegun(cause: unknown): Refusal {
    const error = cause instanceof SigilFault ? cause.error : undefined;
    if (error?.kind === "runsBusy") return busyRefusal(error);
    // The sandbox itself logs, once, that no process can be started.
    if (error?.kind !== "notServing") this.#deps.onFault(cause);
    return { reason: "SANDBOX_UNAVAILABLE", other: null, error: (of) => ({ kind: "runCrashed", ...of }) };
  }

  #whyStopped({ call }: Attempt): string {
    const reason: unknown = call.signal.reason;
    if (reason instanceof SigilFault && reason.error.kind === "deadlineExceeded") return "deadline";
    // A stopping server cancels calls that take too long.
    return this.#deps.isStopping() ? "stopped" : "cancelled";
  }

  /** Records the run even if the caller has gone. @throws notServing: then no output is returned. */
  async #record(attempt: Attempt, facts: RunFacts, result: RunResult): Promise<bigint> {
    const { ledger, onRun, onFault, monotonicMs, randomBytes } = this.#deps;
    onRun(result.end, monotonicMs() - attempt.startMs);
    const { body, disclosures } = runRecord(facts, result, () => randomBytes(saltBytes));
    try {
      const [appended] = await ledger.append([body], { disclosures: [disclosures] });
      if (appended !== undefined) return appended.position;
    } catch (cause) {
      onFault(cause);
      const rule = "the record of the run could not be committed: it gives no output";
      return fail({ kind: "notServing", rule }, { cause });
    }
    return fail({ kind: "notServing", rule: "the ledger gave the record of the run no position" });
  }
}

/** Aborts with the first of two signals; unlike AbortSignal.any it removes its listeners from long-lived ones. */
const link = (first: AbortSignal, second: AbortSignal): Disposable & { readonly signal: AbortSignal } => {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  for (const signal of [first, second]) {
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
  }
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const signal of [first, second]) signal.removeEventListener("abort", abort);
    },
  };
};

const ofRun = ({ facts, decided }: Attempt) => ({
  module: facts.module,
  auditId: decided.auditId,
  run: facts.id,
});

const stoppedBy = (why: string, call: CallContext): SigilError => {
  if (why === "stopped") return { kind: "notServing", rule: "the server is stopping" };
  return why === "deadline"
    ? { kind: "deadlineExceeded", deadlineMs: call.deadlineMs }
    : { kind: "cancelled" };
};

/**
 * Decides checks: subject, features, model evaluation, then a frozen record in the ledger, and an answer only after its
 * commit. Any failure is a deny or an error, never an allow.
 */
import { sha256 } from "@sigil/core/hash";
import { cborEncode, type CborMap, type CborValue } from "@sigil/core/cbor";
import { fail, type SigilError } from "../errors.ts";
import { all, settle, type Settled } from "./settle.ts";
import { commitRecordMsMax } from "../limits.ts";
import {
  readDecision,
  type Disclosures,
  type FrozenChainPayload,
  type RecordBody,
  type Rescoring,
} from "@sigil/core/record";
import { idempotencyScope, mapPaced, runPaced, type CallContext, type Caller } from "../identity/caller.ts";
import type { Appended } from "../ledger/append/commit.ts";
import type { AppendOnce } from "../ledger/append/once.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { ActiveModels, type LoadedModel } from "./active-model.ts";
import {
  isMalformed,
  type ActiveModel,
  type BatchItem,
  type BatchQuestion,
  type CheckQuestion,
  type Decision,
  type SimulateQuestion,
  type Simulation,
} from "./decision.ts";
import { spellQuestion } from "./spell-question.ts";
import { canonicalModel } from "@sigil/core/model";
import { createFreeze, type Freeze, type FreezeDependencies, type Frozen } from "./freezing.ts";
import { openRates, type Asked, type Rates } from "./rates.ts";
import { subjectOf, type FindPrincipal, type Subject } from "./subject.ts";
import { reachOf, rescoreAll, simulateCheck, simulateLast } from "./simulate.ts";

export type TrustDependencies = FreezeDependencies & {
  readonly ledger: Ledger;
  readonly findPrincipal: FindPrincipal;
  readonly nowMs: () => number;
  readonly onDecision?: (verdict: FrozenChainPayload["verdict"], reason: string) => void;
  /** Called if the rate window holds more decisions than a start reads: counts are low until it has passed. */
  readonly onPartialRates?: (tenants: readonly string[]) => void;
};

export type TrustService = {
  readonly check: (caller: Caller, question: CheckQuestion, call: CallContext) => Promise<Decision>;
  readonly batchCheck: (
    caller: Caller,
    questions: readonly BatchQuestion[],
    idempotencyKey: string,
    call: CallContext,
  ) => Promise<readonly BatchItem[]>;
  /** @throws modelMissing. */
  readonly activeModel: () => Promise<ActiveModel>;
  /** @throws malformedModel, modelMissing. */
  readonly simulate: (caller: Caller, question: SimulateQuestion, call: CallContext) => Promise<Simulation>;
  /** What a proposed model would change. @throws malformedModel, recordCorrupt, cancelled. */
  readonly rescore: (model: CborValue, call: CallContext) => Promise<Rescoring>;
};

/** Compared with a repeat's: the check without its key, its input by digest. */
const questionBytes = (question: BatchQuestion): Uint8Array =>
  isMalformed(question)
    ? cborEncode([question.digest])
    : cborEncode([
        question.action,
        question.target,
        question.subject,
        question.session,
        sha256(question.input),
        question.keepInput,
        ...(question.minLevel === undefined ? [] : [question.minLevel]),
        ...(question.metadata === undefined ? [] : [{ ...question.metadata }]),
      ]);

/** A proposed model is scored exactly as recorded. @throws malformedModel. */
const candidateOf = ({ candidate: { kind, payload } }: SimulateQuestion): CborValue =>
  kind === "model" ? canonicalModel(payload) : payload;

const askedOf = (caller: Caller, subject: Subject): Asked => ({
  caller,
  subject: subject.id,
  isEnrolled: subject.isEnrolled,
});

/**
 * Whether an idempotency entry holds a failed item's error. For a decided item it holds the position; for a malformed
 * one nothing, as a repeat fails in the same way.
 */
const isStoredError = (outcome: CborValue): outcome is CborMap & SigilError =>
  typeof outcome === "object" && outcome !== null && "kind" in outcome && typeof outcome.kind === "string";

class Deciding implements TrustService {
  readonly #deps: TrustDependencies;
  readonly #models: ActiveModels;
  readonly #rates: Rates;
  readonly #freeze: Freeze;

  constructor(deps: TrustDependencies, models: ActiveModels, rates: Rates) {
    this.#deps = deps;
    this.#models = models;
    this.#rates = rates;
    this.#freeze = createFreeze(deps);
  }

  async check(caller: Caller, asked: CheckQuestion, call: CallContext): Promise<Decision> {
    const question = this.#spell(asked);
    return this.#deps.ledger.once(
      idempotencyScope(caller, "Check", question.idempotencyKey),
      () => questionBytes(question),
      (append) => this.#decideOne(caller, question, call, append),
      (outcome) => this.#replay(outcome),
    );
  }

  async batchCheck(
    caller: Caller,
    asked: readonly BatchQuestion[],
    idempotencyKey: string,
    call: CallContext,
  ): Promise<readonly BatchItem[]> {
    const questions = await mapPaced(call, asked, (item) => (isMalformed(item) ? item : this.#spell(item)));
    return this.#deps.ledger.once(
      idempotencyScope(caller, "BatchCheck", idempotencyKey),
      () => cborEncode(questions.map((question) => questionBytes(question))),
      (append) => this.#decideMany(caller, questions, call, append),
      (outcomes) =>
        Promise.all(
          questions.map((question, index) =>
            this.#replayItem(question, (outcomes as readonly CborValue[])[index] ?? null),
          ),
        ),
    );
  }

  async activeModel(): Promise<ActiveModel> {
    return this.#models.require();
  }

  async simulate(caller: Caller, question: SimulateQuestion, call: CallContext): Promise<Simulation> {
    const { matter, includeUnchanged } = question;
    const candidate = candidateOf(question);
    if (matter.kind === "last") {
      const asked = {
        candidate,
        includeUnchanged,
        reach: reachOf(caller, question),
        decisions: matter.decisions,
      };
      return simulateLast(this.#deps.ledger.reader, asked, call);
    }
    const asked = this.#spell(matter.question);
    const subject = await this.#subject(caller, asked);
    const observation = {
      action: asked.action,
      target: asked.target,
      level: subject.level,
      rateCount: this.#rates.count(askedOf(caller, subject), this.#deps.nowMs()),
      input: asked.input,
    };
    const answering = { candidate, includeUnchanged, observation, subject: subject.id };
    return runPaced(call, () => simulateCheck(this.#models.require(), answering));
  }

  rescore(model: CborValue, call: CallContext): Promise<Rescoring> {
    return rescoreAll(this.#deps.ledger.reader, model, call);
  }

  /** Canonicalizes the check, so that all spellings are decided and recorded alike. */
  #spell(question: CheckQuestion): CheckQuestion {
    return spellQuestion(question, this.#deps.ledger.reader.origin);
  }

  async #decideOne(
    caller: Caller,
    question: CheckQuestion,
    call: CallContext,
    append: AppendOnce,
  ): Promise<Decision> {
    const { nowMs } = this.#deps;
    const subject = await this.#subject(caller, question);
    const timeMs = nowMs();
    const model = this.#model();
    const rate = this.#rates.enter(askedOf(caller, subject), timeMs);
    try {
      const { count: rateCount } = rate;
      const frozen = await this.#freeze({ caller, question, call, subject, timeMs, model, rateCount });
      const outcome = ([appended]: readonly Appended[]): CborValue => appended?.position ?? null;
      rate.expect(frozen.body.id);
      const disclosures = [frozen.disclosures];
      const [appended] = await append([frozen.body], { outcome, signal: call.signal, disclosures });
      return this.#decided(frozen, appended);
    } finally {
      rate.leave();
    }
  }

  async #decideMany(
    caller: Caller,
    questions: readonly BatchQuestion[],
    call: CallContext,
    append: AppendOnce,
  ): Promise<readonly BatchItem[]> {
    const { nowMs } = this.#deps;
    const subjects = await all(
      questions.map((question) =>
        isMalformed(question) ? question : settle(() => this.#subject(caller, question)),
      ),
    );
    // One timestamp and one model for all; rates as if they were sequential.
    const timeMs = nowMs();
    const model = this.#model();
    const rates = subjects.map((subject) =>
      "error" in subject ? undefined : this.#rates.enter(askedOf(caller, subject.value), timeMs),
    );
    try {
      const frozen = await all(
        await mapPaced(call, questions, (question, index) => {
          const [subject, rate] = [subjects[index] as Settled<Subject>, rates[index]];
          if (isMalformed(question)) return question;
          if ("error" in subject) return subject;
          const asked = { caller, question, call, subject: subject.value, timeMs, model };
          return settle(() => this.#freeze({ ...asked, rateCount: rate?.count ?? 0 }));
        }),
      );
      const bodies: RecordBody[] = [];
      const disclosures: Disclosures[] = [];
      for (const [index, item] of frozen.entries()) {
        if ("error" in item) continue;
        rates[index]?.expect(item.value.body.id);
        bodies.push(item.value.body);
        disclosures.push(item.value.disclosures);
      }
      const outcome = (appended: readonly Appended[]): CborValue => {
        const positions = appended.values();
        return frozen.map((item, index) => {
          if (isMalformed(questions[index] as BatchQuestion)) return null;
          return "error" in item ? { ...item.error } : (positions.next().value?.position ?? null);
        });
      };
      const appended = await this.#appendMany(call, bodies, () =>
        append(bodies, { outcome, signal: call.signal, disclosures }),
      );
      const positions = appended.values();
      return frozen.map((item) =>
        "error" in item
          ? { kind: "failed", error: item.error }
          : { kind: "decided", decision: this.#decided(item.value, positions.next().value) },
      );
    } finally {
      for (const rate of rates) rate?.leave();
    }
  }

  /** One commit, which delays others, so its caller is charged for it. */
  async #appendMany(
    { pace }: CallContext,
    { length }: readonly RecordBody[],
    append: () => Promise<readonly Appended[]>,
  ): Promise<readonly Appended[]> {
    const startUs = this.#deps.nowUs();
    try {
      return await append();
    } finally {
      const tookMs = (this.#deps.nowUs() - startUs) / 1000;
      pace?.charge(Math.min(tookMs, Math.max(1, length) * commitRecordMsMax));
    }
  }

  #subject(caller: Caller, { subject }: CheckQuestion): Subject | Promise<Subject> {
    return subjectOf(caller, subject, this.#deps.findPrincipal);
  }

  #model(): LoadedModel | undefined {
    const { state } = this.#models;
    return state.kind === "loaded" ? state.loaded : undefined;
  }

  #decided({ body, chain, disclosures, model }: Frozen, appended: Appended | undefined): Decision {
    if (appended === undefined) return fail({ kind: "indeterminate", rule: "the ledger gave no position" });
    this.#deps.onDecision?.(chain.verdict, chain.reason);
    return {
      auditId: body.id,
      position: appended.position,
      hash: appended.hash,
      envelope: appended.envelope,
      timeMs: body.ts,
      chain: appended.callerSeq === undefined ? chain : { ...chain, callerSeq: appended.callerSeq },
      disclosures,
      model: model?.model ?? null,
      replayed: false,
    };
  }

  /** Rebuilds the first answer from its record, verified like any read. */
  async #replay(position: CborValue): Promise<Decision> {
    const record = await this.#deps.ledger.reader.readAt(BigInt(position as number | bigint));
    const chain = readDecision(record.body, record.disclosures);
    const model = chain.model.hash === null ? null : await this.#models.byHash(chain.model.hash);
    return {
      auditId: record.body.id,
      position: record.position,
      hash: record.hash,
      envelope: record.envelope,
      timeMs: record.body.ts,
      chain,
      disclosures: record.disclosures,
      model,
      replayed: true,
    };
  }

  async #replayItem(question: BatchQuestion, outcome: CborValue): Promise<BatchItem> {
    if (isMalformed(question)) return { kind: "failed", error: question.error };
    if (isStoredError(outcome)) return { kind: "failed", error: outcome };
    return { kind: "decided", decision: await this.#replay(outcome) };
  }
}

/** Loads the model and the rate windows from the ledger before serving. */
export const createTrustService = async (deps: TrustDependencies): Promise<TrustService> => {
  const models = await ActiveModels.open(deps.ledger);
  const { ledger, nowMs, onPartialRates: onPartial } = deps;
  const rates = await openRates({ ledger, models, nowMs, onPartial });
  const service = new Deciding(deps, models, rates);
  return {
    check: (caller, question, call) => service.check(caller, question, call),
    batchCheck: (caller, questions, key, call) => service.batchCheck(caller, questions, key, call),
    activeModel: () => service.activeModel(),
    simulate: (caller, question, call) => service.simulate(caller, question, call),
    rescore: (model, call) => service.rescore(model, call),
  };
};

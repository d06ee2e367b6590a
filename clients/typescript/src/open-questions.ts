/** The questions of a stream that wait for their answers. At most `openQuestionsMax`. */
import {
  CheckRequest,
  type StreamChecksRequest,
  type StreamChecksResponse,
} from "@sigil/proto/sigil/trust/v1/trust";
import { contradiction, judgeAnswer } from "./answer.ts";
import { askedOf, questionFault, type Asked } from "./asked.ts";
import { deferred } from "./deferred.ts";
import type { DecisionProver, Proving } from "./verify/prover.ts";

type Open = { readonly question: Asked; readonly proving: Proving | undefined };

/** Maximum unanswered questions; a correct server applies backpressure long before. */
const openQuestionsMax = 65_536;
/** Maximum length of a correlation id that the server returns. */
const correlationCharactersMax = 128;

/** Unanswered questions of a stream, by correlation id. Ids may repeat. */
export class OpenQuestions {
  readonly #byId = new Map<string, Open[]>();
  readonly #prover: DecisionProver | undefined;
  #count = 0;
  #room = deferred();
  #closed = false;

  constructor(prover?: DecisionProver) {
    this.#prover = prover;
  }

  /** Resolves when the question may be sent, or when the call is over. */
  async ask({
    correlationId,
    check,
  }: Pick<StreamChecksRequest, "correlationId"> & Partial<StreamChecksRequest>): Promise<void> {
    while (this.#count >= openQuestionsMax && !this.#closed) await this.#room.promise;
    this.#count += 1;
    if (correlationId.length > correlationCharactersMax) return;
    const request = check ?? CheckRequest.create();
    const proving = this.#prover?.begin(request);
    const asked = { question: proving?.asked ?? askedOf(request), proving };
    const open = this.#byId.get(correlationId);
    if (open === undefined) this.#byId.set(correlationId, [asked]);
    else open.push(asked);
  }

  /**
   * Matches an answer to an open question, of several with its id to the first that it may answer, and judges it by
   * that one: `reply` holds what came of it. An error may also be about a question whose invalid id the server does not
   * return. @throws SigilError
   */
  async answer(reply: StreamChecksResponse): Promise<void> {
    const { correlationId, outcome } = reply;
    const open = this.#byId.get(correlationId) ?? [];
    if (open.length === 0 && outcome?.$case === "decision") {
      throw contradiction("a decision answers a question that was not asked, or was answered before");
    }
    const decision = outcome?.$case === "decision" ? outcome.value : undefined;
    const fits = ({ question }: Open): boolean =>
      decision === undefined || questionFault(question, decision) === undefined;
    const at = Math.max(0, open.findIndex(fits));
    const [asked] = open.splice(at, 1);
    if (open.length === 0) this.#byId.delete(correlationId);
    this.#count = Math.max(0, this.#count - 1);
    if (this.#count === 0) this.#byId.clear();
    this.#room.resolve();
    this.#room = deferred();
    if (asked === undefined || outcome?.$case !== "decision") return this.#end(asked);
    judgeAnswer(asked.question, outcome.value);
    if (this.#prover === undefined || asked.proving === undefined) return undefined;
    try {
      reply.outcome = await this.#prover.outcome(asked.proving, { decision: outcome.value }, outcome);
    } finally {
      this.#end(asked);
    }
  }

  /** The call has ended. @throws SigilError when questions were left unanswered. */
  requireAnswered(): void {
    if (this.#count > 0) throw contradiction(`it ended with ${this.#count} questions unanswered`);
  }

  #end(asked: Open | undefined): void {
    if (asked?.proving !== undefined) this.#prover?.end(asked.proving);
  }

  /** The call is over: releases waiters. */
  close(): void {
    this.#closed = true;
    this.#room.resolve();
    for (const asked of [...this.#byId.values()].flat()) this.#end(asked);
    this.#byId.clear();
  }
}

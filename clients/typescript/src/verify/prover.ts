/**
 * Answers that are handed on only once they are proved: each question asks for an inclusion proof, and its answer must
 * be what the record says of this very question, in the ledger of the genesis that the caller trusts. An old allow, or
 * somebody else's, proves nothing. Source: docs/spec/verify.md §4. Bound: the questions under way, and a few hundred
 * bytes for each.
 */
import { status as Code } from "@grpc/grpc-js";
import { equalBytes } from "@sigil/core/bytes";
import { cborDecode } from "@sigil/core/cbor";
import { decodeEnvelope, parseRecordStatement, readDisclosures } from "@sigil/core/record";
import { ErrorInfo } from "@sigil/proto/google/rpc/error_details";
import { Status } from "@sigil/proto/google/rpc/status";
import type { CheckRequest, CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";
import { RecordProof, type SharedProof } from "@sigil/proto/sigil/type/v1/type";
import { askedOf, type Asked } from "../asked.ts";
import { within, type CallContext, type CallOptions } from "../call.ts";
import type { KeyClient } from "../services/operation.ts";
import { SigilError } from "../error.ts";
import { verifyDecision } from "../proven-decision.ts";
import { ProofError, proving, walkKeys, type KeyWalk } from "../walk.ts";
import { Freshness, type Since } from "./fresh.ts";

const reason = "DECISION_NOT_PROVED";

const notProved = (cause: ProofError): SigilError =>
  new SigilError(Code.INTERNAL, cause.message, { reason }, { cause });

/** A failed item of a batch or stream. */
const unprovedStatus = ({ message }: SigilError): Status => {
  const value = ErrorInfo.encode(ErrorInfo.fromPartial({ reason })).finish();
  const typeUrl = "type.googleapis.com/google.rpc.ErrorInfo";
  return Status.fromPartial({ code: Code.INTERNAL, message, details: [{ typeUrl, value }] });
};

/** A question under way. */
export type Proving = {
  readonly asked: Asked;
  /** Undefined where the caller chose the idempotency key: a repeat has the first record. */
  readonly since: Since | undefined;
};

type Answer = { readonly decision: CheckResponse; readonly shared?: SharedProof | undefined };

/** What is compared of an input: the record commits to its digest, and the answer opens the commitment. */
const requireInput = (asked: Asked, { disclosures, proof }: CheckResponse): Promise<void> =>
  proving(async () => {
    if (asked.inputBytes === 0) return;
    const { body } = parseRecordStatement(decodeEnvelope(proof?.envelope ?? new Uint8Array(0)).statement);
    const [digest] = disclosures.length === 0 ? [] : inputIn(readDisclosures(cborDecode(disclosures), body));
    if (!(digest instanceof Uint8Array) || !equalBytes(digest, asked.inputDigest))
      throw new ProofError("the answer is not proved: its record does not say that it is about this input");
  });

const inputIn = ({ input }: ReturnType<typeof readDisclosures>): readonly unknown[] =>
  Array.isArray(input?.value) ? input.value : [];

export class DecisionProver {
  readonly #connection: { readonly keys: KeyClient };
  readonly #genesis: Uint8Array;
  readonly #context: CallContext;
  readonly #fresh = new Freshness(Date.now);
  #walk: Promise<KeyWalk> | undefined;
  #again: Promise<KeyWalk> | undefined;

  constructor(connection: { readonly keys: KeyClient }, genesis: Uint8Array, context: CallContext) {
    this.#connection = connection;
    this.#genesis = genesis;
    this.#context = context;
  }

  /** @returns the same question, with what its proof takes. */
  static asking<Request extends Partial<CheckRequest>>(request: Request): Request {
    const isAsked = request.proof === RecordProof.RECORD_PROOF_EVIDENCE;
    const proof = isAsked ? request.proof : RecordProof.RECORD_PROOF_INCLUSION;
    const hasInput = (request.input?.length ?? 0) > 0;
    return { ...request, proof, ...(hasInput ? { disclose: true } : {}) };
  }

  /**
   * Resolves when the keys are known, within the deadline of the question.
   * @throws SigilError, also when the server's keys do not follow from the genesis.
   */
  async ready({ deadlineMs = this.#context.deadlineMs, signal }: CallOptions = {}): Promise<void> {
    this.#walk ??= walkKeys(this.#connection, this.#genesis).catch((error: unknown) => {
      this.#walk = undefined;
      throw error;
    });
    await this.#honest(() => within(this.#walked(), "the keys did not come in time", deadlineMs, signal));
  }

  begin(request: CheckRequest, key = request.idempotencyKey): Proving {
    return { asked: askedOf(request), since: key === "" ? this.#fresh.ask() : undefined };
  }

  /** The question is over, answered or not. */
  end({ since }: Proving): void {
    if (since !== undefined) this.#fresh.end(since);
  }

  /** @throws SigilError with reason DECISION_NOT_PROVED. */
  async verify(asking: Proving, { decision, shared }: Answer, signal?: AbortSignal): Promise<void> {
    await this.#honest(async () => {
      const { asked, since } = asking;
      const { walk, record } = await this.#verifying(
        async (keys) => ({
          walk: keys,
          record: await verifyDecision(keys, { request: asked, decision, shared }),
        }),
        signal,
      );
      await requireInput(asked, decision);
      const checkpoint = shared?.checkpoint ?? decision.proof?.checkpoint ?? "";
      const tree = { checkpoint, ...(await walk.verifyCheckpoint(checkpoint)) };
      this.#fresh.take(since, record, tree);
    });
  }

  /** The same outcome, or an error in place of a decision that is not proved. */
  async outcome<Outcome extends { readonly $case: string; readonly value: unknown }>(
    asking: Proving,
    answer: Answer,
    outcome: Outcome,
  ): Promise<Outcome | { readonly $case: "error"; readonly value: Status }> {
    try {
      await this.verify(asking, answer);
      return outcome;
    } catch (error) {
      return { $case: "error", value: unprovedStatus(SigilError.from(error)) };
    }
  }

  /** Keys change while a connection is open: what does not hold is looked at again with those announced since. */
  async #verifying<Result>(
    verify: (walk: KeyWalk) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    const walk = await this.#walked();
    try {
      return await verify(walk);
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      const newer = await within(
        this.#walkedAgain(),
        "the keys did not come in time",
        this.#context.deadlineMs,
        signal,
      );
      if (newer.records <= walk.records) throw error;
      this.#walk = Promise.resolve(newer);
      return verify(newer);
    }
  }

  #walked(): Promise<KeyWalk> {
    return this.#walk ?? Promise.reject(new Error("the keys were not walked"));
  }

  /** One walk for all that wait for one. */
  #walkedAgain(): Promise<KeyWalk> {
    this.#again ??= walkKeys(this.#connection, this.#genesis).finally(() => (this.#again = undefined));
    return this.#again;
  }

  async #honest<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw error instanceof ProofError ? notProved(error) : error;
    }
  }
}

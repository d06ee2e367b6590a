/**
 * The wiring of audit and Canon: what they ask of Trust, as functions. Called by server.ts alone.
 */
import { createAuditService } from "./audit/service.ts";
import type { Authorise } from "./canon/authority.ts";
import { createQuorumService } from "./canon/quorum.ts";
import { createRecordsService } from "./canon/records.ts";
import { createSchemas } from "./canon/schemas.ts";
import type { QuorumService, RecordsService } from "./canon/service.ts";
import type { createPrincipals } from "./identity/principals.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { CborValue } from "./record/cbor.ts";
import { fail, SigilFault } from "./record/errors.ts";
import { canonicalTarget, spellingOr } from "./record/spelling.ts";
import { createDecisionIds } from "./trust/decision-id.ts";
import { compileGlob, globFault } from "./trust/glob.ts";
import { checkReplaceable } from "./trust/lockout.ts";
import { canonicalModel } from "./trust/model-spelling.ts";
import { parseModel } from "./trust/model.ts";
import { recompute } from "./trust/recompute.ts";
import { rowsFor } from "./trust/rows.ts";
import type { TrustService } from "./trust/service.ts";

export const wireAudit = (ledger: Ledger) =>
  createAuditService({
    ledger,
    compileGlob: (pattern) => {
      const rule = globFault(pattern);
      if (rule !== null) fail({ kind: "invalidField", field: "target_glob", rule });
      const { matches } = compileGlob(pattern);
      // Decisions from before targets had one spelling are found under it.
      return (target) => matches(spellingOr(canonicalTarget(target), target));
    },
    rowsFor,
    recompute: (chain, model) => {
      try {
        const outcome = recompute(chain, model);
        if (outcome.kind === "match")
          return { holds: true, detail: `the model gives ${outcome.verdict.kind} again` };
        if (outcome.kind === "unscored")
          return { holds: true, detail: `deny without a score: ${outcome.reason}` };
        const { field, recorded, recomputed } = outcome;
        return { holds: false, detail: `${field} is recorded as ${recorded}, recomputed as ${recomputed}` };
      } catch (error) {
        if (error instanceof SigilFault) return { holds: false, detail: error.message };
        throw error;
      }
    },
  });

const spellModel = (payload: CborValue): CborValue => {
  const spelled = canonicalModel(payload);
  checkReplaceable(parseModel(spelled));
  return spelled;
};

/** Canon asks as any caller does, and every question is a recorded decision. Anything but an allow is an error. */
const authoriseBy =
  (trust: TrustService): Authorise =>
  async (caller, questions, call) => {
    const asked = questions.map((question) => ({
      ...question,
      subject: "",
      keepInput: false,
      idempotencyKey: "",
    }));
    const items = await trust.batchCheck(caller, asked, "", call);
    return questions.map((_, index) => {
      const item = items[index];
      if (item === undefined) return fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
      if (item.kind === "failed") return fail(item.error);
      const { auditId, hash, chain } = item.decision;
      if (chain.verdict === "allow") return { auditId, hash };
      const { action, target } = chain.request;
      return fail({ kind: "denied", action, target, verdict: chain.verdict, why: chain.reason, auditId });
    });
  };

/** The model in a proposal, for who wants to see what it would change. @throws notFound, invalidField. */
export const candidateIn =
  (quorum: QuorumService) =>
  async (proposalId: string): Promise<CborValue> => {
    const { body } = (await quorum.get(proposalId)).proposal;
    if (body.kind === "trust_model") return body.payload;
    const rule = "must name a proposal of a trust model";
    return fail({ kind: "invalidField", field: "proposal_id", rule });
  };

export type CanonParts = {
  readonly ledger: Ledger;
  readonly trust: TrustService;
  readonly principals: ReturnType<typeof createPrincipals>;
  readonly nowMs: () => number;
  readonly randomBytes: (bytes: number) => Uint8Array;
};

export const wireCanon = async ({
  ledger,
  trust,
  principals,
  nowMs,
  randomBytes,
}: CanonParts): Promise<{
  readonly records: RecordsService;
  readonly quorum: QuorumService;
  readonly close: () => void;
}> => {
  const authorise = authoriseBy(trust);
  const schemas = createSchemas(ledger);
  const records = createRecordsService({
    ledger,
    authorise,
    schemas,
    nowMs,
    monotonicMs: () => performance.now(),
  });
  const quorum = await createQuorumService({
    ledger,
    authorise,
    findPrincipal: principals.find,
    spellModel,
    compileSchema: schemas.compile,
    newId: createDecisionIds(randomBytes),
    nowMs,
    onCommit: (id) => {
      if (id.startsWith("schema/")) schemas.announce();
    },
  });
  return { records, quorum, close: schemas.close };
};

/**
 * Wires Canon and principals to Trust, by functions, and their answers to the commit policy. Called only by server.ts.
 */
import type { Logger } from "pino";
import type { Authorise, Authorised } from "../canon/authority.ts";
import { createQuorumService } from "../canon/proposals/quorum.ts";
import { createRecordsService } from "../canon/records/records.ts";
import { createSchemas } from "../canon/schemas/schemas.ts";
import type { GovernedTurns, QuorumService, RecordsService } from "../canon/service.ts";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { Metrics } from "../gateway/metrics.ts";
import type { Principals } from "../identity/principals.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { Directory } from "../identity/directory/directory.ts";
import type { PrincipalService } from "../identity/directory/principal-service.ts";
import { Suspending, type SuspendingDependencies } from "../identity/directory/suspending.ts";
import { Withdrawing } from "../identity/directory/withdrawing.ts";
import type { CborValue } from "@sigil/core/cbor";
import { fail, SigilFault } from "../errors.ts";
import { schemaPrefix } from "@sigil/core/record";
import { createDecisionIds } from "../trust/decision-id.ts";
import type { CheckQuestion } from "../trust/decision.ts";
import { canonicalModel, parseModel } from "@sigil/core/model";
import { checkReplaceable, suspensionMatter } from "../trust/lockout.ts";
import type { TrustService } from "../trust/service.ts";
import { withCommitPolicy, type Answering, type Cover } from "./commit-policy.ts";

/** Service names reported individually by health. */
export const serviceNames: readonly string[] = [
  "sigil.trust.v1.TrustService",
  "sigil.audit.v1.AuditService",
  "sigil.canon.v1.CanonService",
  "sigil.canon.v1.WitnessService",
  "sigil.identity.v1.PrincipalService",
  "sigil.key.v1.KeyService",
  "sigil.module.v1.ModuleService",
  "sigil.backup.v1.BackupService",
];

const spellModel = (payload: CborValue): CborValue => {
  const spelled = canonicalModel(payload);
  checkReplaceable(parseModel(spelled));
  return spelled;
};

type Asked = Pick<CheckQuestion, "action" | "target" | "session" | "input">;
type AuthoriseAny = (
  caller: Caller,
  questions: readonly Asked[],
  call: CallContext,
) => Promise<readonly Authorised[]>;

/** Canon makes a recorded decision like any caller. Anything but an allow is an error. */
const authoriseBy =
  (trust: TrustService): AuthoriseAny & Authorise =>
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

/** Without a model the decision is still recorded, as a deny. */
const actionNames = async (trust: TrustService): Promise<readonly string[]> => {
  try {
    return Object.keys((await trust.activeModel()).model.actions);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "modelMissing") return [];
    throw error;
  }
};

type PrincipalParts = Pick<SuspendingDependencies, "principals" | "nowMs"> & {
  readonly ledger: Ledger;
  readonly trust: TrustService;
  readonly turns: GovernedTurns;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "onSuspension">;
  /** Whether a principal without a key can call. */
  readonly takesCertificates: boolean;
};

const wirePrincipals = (parts: PrincipalParts): PrincipalService => {
  const { ledger, principals, trust, turns, nowMs, log, metrics, takesCertificates } = parts;
  const authorise = authoriseBy(trust);
  const lowering = {
    ledger,
    principals,
    nowMs,
    inTurn: turns.inTurn,
    authorise: async (caller: Caller, recordId: string, call: CallContext) => {
      const question = { ...suspensionMatter(await actionNames(trust)), session: recordId };
      const [allowed] = await authorise(caller, [{ ...question, input: new Uint8Array(0) }], call);
      return allowed ?? fail({ kind: "indeterminate", rule: "the trust model gave no answer" });
    },
  };
  const suspending = new Suspending({
    ...lowering,
    countsWithoutKey: takesCertificates,
    reaches: turns.reaches,
    onSuspended: ({ what, ...made }) => {
      metrics.onSuspension(what);
      log.warn(made, `${what} suspended`);
    },
  });
  const withdrawing = new Withdrawing({
    ...lowering,
    onWithdrawn: (made) => log.warn(made, "feed grant withdrawn"),
  });
  const directory = new Directory({ ledger: ledger.reader, principals });
  return {
    suspend: (caller, question, call) => suspending.suspend(caller, question, call),
    withdraw: (caller, principal, call) => withdrawing.withdraw(caller, principal, call),
    get: (caller, id) => directory.get(caller, id),
    list: (caller, query, signal) => directory.list(caller, query, signal),
  };
};

type CanonParts = {
  readonly ledger: Ledger;
  readonly trust: TrustService;
  readonly principals: Principals;
  readonly nowMs: () => number;
  readonly randomBytes: (bytes: number) => Uint8Array;
};

const wireCanon = async ({
  ledger,
  trust,
  principals,
  nowMs,
  randomBytes,
}: CanonParts): Promise<{
  readonly records: RecordsService;
  readonly quorum: QuorumService & GovernedTurns;
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
    principals,
    spellModel,
    compileSchema: schemas.compile,
    rescore: (model, call) => trust.rescore(model, call),
    newId: createDecisionIds(randomBytes),
    nowMs,
    onCommit: (id) => {
      if (id.startsWith(schemaPrefix)) schemas.announce();
    },
  });
  return { records, quorum, close: schemas.close };
};

type AnswerParts = CanonParts & Omit<PrincipalParts, "turns"> & { readonly cover: Cover | undefined };

/** The services that callers and modules are answered by; what is behind them does not wait. */
export const wireAnswers = async (
  parts: AnswerParts,
): Promise<Answering & { readonly close: () => void }> => {
  const { trust, ledger, cover } = parts;
  const { records, quorum, close } = await wireCanon(parts);
  const directory = wirePrincipals({ ...parts, turns: quorum });
  const newest = (): bigint => ledger.reader.size - 1n;
  return { ...withCommitPolicy({ trust, records, quorum, directory }, cover, newest), close };
};

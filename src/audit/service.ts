/**
 * Serves recorded decisions. Every record is opened and verified before it is returned; a failure is DATA_LOSS. A
 * caller sees its own tenant; Root of tenant "system" sees every tenant.
 */
import { toHex, type Hash } from "@sigil/core/bytes";
import type { CborValue } from "@sigil/core/cbor";
import { fail, SigilFault } from "../errors.ts";
import { readDecision, type FrozenChainPayload } from "@sigil/core/record";
import { replay } from "@sigil/core/model";
import { tenantFor, type Caller } from "../identity/caller.ts";
import { type Examination, type VerifiedRecord } from "../ledger/read/examine.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import { createProofService, type Cosigned, type ProofService } from "./proofs.ts";
import type {
  AuditedChain,
  ChainName,
  ChainPage,
  ChainQuery,
  ModelRows,
  ReplayedDecision,
  Verification,
  VerificationStep,
} from "./evidence.ts";
import { listChains, type CompileGlob } from "./listing.ts";
import { WalkTurns } from "./walk-turns.ts";

export type AuditDependencies = {
  readonly ledger: LedgerReader;
  /** Undefined without a policy. */
  readonly cosigned: Cosigned | undefined;
  /** Matches targets as trust models do. @throws invalidField naming target_glob. */
  readonly compileGlob: CompileGlob;
  /** Recomputes a decision from the payload of the model it names. */
  readonly recompute: (
    chain: FrozenChainPayload,
    model: CborValue,
  ) => { readonly holds: boolean; readonly detail: string };
  /** A model's contribution to a decision, from its record's payload. @throws malformedModel. */
  readonly rowsFor: (request: FrozenChainPayload["request"], model: CborValue) => ModelRows;
};

export type AuditService = ProofService & {
  /** @throws notFound, recordCorrupt, tenantForbidden, erased. */
  readonly get: (caller: Caller, query: ChainName) => Promise<AuditedChain>;
  /** Undefined if no model decided or its record is damaged; `verify` reports the damage. */
  readonly rows: (chain: FrozenChainPayload) => Promise<ModelRows | undefined>;
  /** @throws invalidPageToken, recordCorrupt naming the position, tenantForbidden, erased, cancelled. */
  readonly list: (caller: Caller, query: ChainQuery, signal: AbortSignal) => Promise<ChainPage>;
  /** @throws as `get`; recordCorrupt and ledgerCorrupt of the model's record too. */
  readonly replay: (caller: Caller, query: ChainName) => Promise<ReplayedDecision>;
  /** A failed step is part of the answer. @throws notFound, tenantForbidden, erased. */
  readonly verify: (caller: Caller, query: ChainName) => Promise<Verification>;
};

const notFound = (auditId: string): never => fail({ kind: "notFound", what: "decision", id: auditId });

export const createAuditService = ({
  ledger,
  cosigned,
  compileGlob,
  recompute,
  rowsFor,
}: AuditDependencies): AuditService => {
  const turns = new WalkTurns();
  const listing = { ledger, compileGlob, turns, clock: () => performance.now() };

  const positionOf = async (caller: Caller, { auditId, tenant }: ChainName): Promise<bigint> => {
    return (await ledger.decisionAt(tenantFor(caller, tenant), auditId)) ?? notFound(auditId);
  };

  /** The index is a hint: the verified record must be the requested decision. */
  const isAsked = (record: VerifiedRecord, caller: Caller, { auditId, tenant }: ChainName): boolean =>
    record.body.id === auditId && record.body.tenant === tenantFor(caller, tenant);

  const get = async (caller: Caller, query: ChainName): Promise<AuditedChain> => {
    const position = await positionOf(caller, query);
    const record = await ledger.readAt(position, tenantFor(caller, query.tenant));
    if (!isAsked(record, caller, query)) {
      const rule = "the record is not the one its index names";
      return fail({ kind: "recordCorrupt", position, step: "index", rule });
    }
    if (record.body.kind !== "frozen_chain") return notFound(query.auditId);
    return { record, chain: readDecision(record.body, record.disclosures) };
  };

  const verify = async (caller: Caller, query: ChainName): Promise<Verification> => {
    const position = await positionOf(caller, query);
    const examination = await ledger.examine(position, tenantFor(caller, query.tenant));
    const { record } = examination;
    const named: VerificationStep[] =
      record !== undefined && !isAsked(record, caller, query)
        ? [failed("index", "the record is not the one its index names")]
        : [];
    const decision = await decisionSteps(record, ledger, recompute);
    return verification(examination, [...examination.steps, ...named, ...decision]);
  };

  const rows = async ({ request, model: { hash } }: FrozenChainPayload): Promise<ModelRows | undefined> => {
    if (hash === null) return undefined;
    try {
      const model = await findModel(ledger, hash);
      return typeof model === "string" ? undefined : rowsFor(request, model.body.payload);
    } catch (error) {
      const kind = error instanceof SigilFault ? error.error.kind : "";
      if (isDamage(kind) || kind === "malformedModel") return undefined;
      throw error;
    }
  };

  const replayDecision = async (caller: Caller, query: ChainName): Promise<ReplayedDecision> => {
    const { record, chain } = await get(caller, query);
    const { hash } = chain.model;
    const { position } = record;
    if (hash === null) return { replay: replay(chain, null), model: undefined };
    const model = await findModel(ledger, hash);
    if (typeof model === "string")
      return fail({ kind: "recordCorrupt", position, step: "model", rule: model });
    try {
      return { replay: replay(chain, model.body.payload), model };
    } catch (cause) {
      const kind = cause instanceof SigilFault ? cause.error.kind : "";
      if (kind !== "malformedModel" && kind !== "malformedRecord") throw cause;
      const rule = cause instanceof SigilFault ? cause.message : "";
      return fail({ kind: "recordCorrupt", position, step: "decision", rule }, { cause });
    }
  };

  return {
    get,
    rows,
    replay: replayDecision,
    verify,
    list: async (caller, query, signal) => {
      const tenant = tenantFor(caller, query.tenant);
      if (tenant !== caller.tenant) ledger.requireTenant(tenant);
      return listChains(listing, { caller, tenant, query }, signal);
    },
    ...createProofService(ledger, get, cosigned),
  };
};

const failed = (name: string, detail: string): VerificationStep => ({ name, outcome: "failed", detail });
const passed = (name: string, detail: string): VerificationStep => ({ name, outcome: "passed", detail });
const skipped = (name: string, detail: string): VerificationStep => ({ name, outcome: "skipped", detail });

const verification = (examination: Examination, steps: readonly VerificationStep[]): Verification => ({
  verified: steps.every(({ outcome }) => outcome === "passed"),
  steps,
  position: examination.position,
  checkpoint: examination.checkpoint,
  proof: examination.proof,
  envelope: examination.envelope,
});

const isDamage = (kind: string): boolean => kind === "recordCorrupt" || kind === "ledgerCorrupt";

/** Finds a model's record by hash; returns a rule if there is none. @throws recordCorrupt, ledgerCorrupt. */
const findModel = async (ledger: LedgerReader, hash: Hash): Promise<VerifiedRecord | string> => {
  const model = await ledger.readHash(hash);
  if (model === undefined) return "the ledger holds no record of this hash";
  return model.body.kind === "trust_model" ? model : "the record of this hash is no trust model";
};

/** Steps that check that the deciding model is the named record and gives the same answer again. */
const decisionSteps = async (
  record: VerifiedRecord | undefined,
  ledger: LedgerReader,
  recompute: AuditDependencies["recompute"],
): Promise<readonly VerificationStep[]> => {
  if (record === undefined) {
    const why = "a step before it failed";
    return [skipped("model", why), skipped("decision", why)];
  }
  const chain = readDecision(record.body, record.disclosures);
  const { hash } = chain.model;
  if (hash === null) {
    const denied = chain.verdict === "deny";
    const model = passed("model", "no model was loaded when this was decided");
    const detail = "without a model the only answer is a deny";
    return [model, denied ? passed("decision", detail) : failed("decision", detail)];
  }
  try {
    const model = await findModel(ledger, hash);
    if (typeof model === "string") return unproven(model);
    const again = recompute(chain, model.body.payload);
    return [
      passed("model", `${model.body.id} ${toHex(hash)} at position ${model.position}`),
      again.holds ? passed("decision", again.detail) : failed("decision", again.detail),
    ];
  } catch (error) {
    if (error instanceof SigilFault && isDamage(error.error.kind)) return unproven(error.message);
    throw error;
  }
};

const unproven = (rule: string): readonly VerificationStep[] => [
  failed("model", rule),
  skipped("decision", "a step before it failed"),
];

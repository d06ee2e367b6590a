/**
 * Serves recorded decisions. Every record is opened and verified before it is answered; one that fails is DATA_LOSS
 * and stays unseen. A caller sees its own tenant; Root of tenant "system" sees every one.
 */
import { toHex, type Hash, type PublicKey } from "../record/bytes.ts";
import type { CborValue } from "../record/cbor.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { listScanEntriesMax, pageSizeDefault, pageSizeMax } from "../record/limits.ts";
import { parseFrozenChain, type FrozenChainPayload } from "../record/kinds.ts";
import { tenantFault } from "../record/names.ts";
import { readsAcross, type Caller } from "../identity/caller.ts";
import { checkpointKeyOf, type Examination, type VerifiedRecord } from "../ledger/examine.ts";
import type { DecisionFilter } from "../ledger/indexes.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { AuditedChain, ChainPage, ChainQuery, Verification, VerificationStep } from "./evidence.ts";
import { formatPageToken, parsePageToken } from "./page-token.ts";

export type AuditDependencies = {
  readonly ledger: Ledger;
  /** Matches targets as trust models do. @throws invalidField naming target_glob. */
  readonly compileGlob: (glob: string) => (target: string) => boolean;
  /** Works a decision out again from the payload of the model it names. */
  readonly recompute: (
    chain: FrozenChainPayload,
    model: CborValue,
  ) => { readonly holds: boolean; readonly detail: string };
};

export type AuditService = {
  /** @throws notFound, recordCorrupt, tenantForbidden. */
  readonly get: (caller: Caller, query: ChainName) => Promise<AuditedChain>;
  /** @throws invalidPageToken, recordCorrupt naming the position, tenantForbidden, cancelled. */
  readonly list: (caller: Caller, query: ChainQuery, signal: AbortSignal) => Promise<ChainPage>;
  /** @throws notFound, tenantForbidden. A failed step is an answer. */
  readonly verify: (caller: Caller, query: ChainName) => Promise<Verification>;
  readonly checkpoint: () => {
    readonly note: string;
    readonly origin: string;
    readonly size: bigint;
    readonly root: Hash;
    readonly publicKey: PublicKey;
  };
};

/** Records verified side by side while a page is put together. */
const readAheadMax = 64;

/** Names one decision; an empty tenant is the caller's own. */
export type ChainName = { readonly auditId: string; readonly tenant: string };

const tenantFor = (caller: Caller, asked: string): string => {
  if (asked === "" || asked === caller.tenant) return caller.tenant;
  const fault = tenantFault(asked);
  if (fault !== null) return fail({ kind: "invalidField", field: "tenant", rule: fault });
  if (readsAcross(caller)) return asked;
  return fail({
    kind: "tenantForbidden",
    tenant: asked,
    rule: "only Root of tenant system reads across tenants",
  });
};

const notFound = (auditId: string): never => fail({ kind: "notFound", what: "decision", id: auditId });

export const createAuditService = ({ ledger, compileGlob, recompute }: AuditDependencies): AuditService => {
  const positionOf = async (caller: Caller, { auditId, tenant }: ChainName): Promise<bigint> => {
    const head = await ledger.head(tenantFor(caller, tenant), "user", auditId);
    return head?.position ?? notFound(auditId);
  };

  /** The index is a hint: the verified record must be the decision that was asked for. */
  const isAsked = (record: VerifiedRecord, caller: Caller, { auditId, tenant }: ChainName): boolean =>
    record.body.id === auditId && record.body.tenant === tenantFor(caller, tenant);

  const get = async (caller: Caller, query: ChainName): Promise<AuditedChain> => {
    const position = await positionOf(caller, query);
    const record = await ledger.readAt(position);
    if (!isAsked(record, caller, query)) {
      const rule = "the record is not the one its index names";
      return fail({ kind: "recordCorrupt", position, step: "index", rule });
    }
    if (record.body.kind !== "frozen_chain") return notFound(query.auditId);
    return { record, chain: parseFrozenChain(record.body.payload) };
  };

  const verify = async (caller: Caller, query: ChainName): Promise<Verification> => {
    const position = await positionOf(caller, query);
    const examination = await ledger.examine(position);
    const { record } = examination;
    const named: VerificationStep[] =
      record !== undefined && !isAsked(record, caller, query)
        ? [failed("index", "the record is not the one its index names")]
        : [];
    const decision = await decisionSteps(record, ledger, recompute);
    return verification(examination, [...examination.steps, ...named, ...decision]);
  };

  return {
    get,
    verify,
    list: (caller, query, signal) => listChains(ledger, compileGlob, caller, query, signal),
    checkpoint: () => {
      const { note, size, root } = ledger.checkpoint;
      const { publicKey } = checkpointKeyOf(ledger.ring, size);
      return { note, origin: ledger.origin, size, root, publicKey };
    },
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

/** The model that decided is the record it claims to be, and gives the same answer again. */
const decisionSteps = async (
  record: VerifiedRecord | undefined,
  ledger: Ledger,
  recompute: AuditDependencies["recompute"],
): Promise<readonly VerificationStep[]> => {
  if (record === undefined) {
    const why = "a step before it failed";
    return [skipped("model", why), skipped("decision", why)];
  }
  const chain = parseFrozenChain(record.body.payload);
  const { hash } = chain.model;
  if (hash === null) {
    const denied = chain.verdict === "deny";
    const model = passed("model", "no model was loaded when this was decided");
    const detail = "without a model the only answer is a deny";
    return [model, denied ? passed("decision", detail) : failed("decision", detail)];
  }
  try {
    const position = await ledger.positionOfHash(hash);
    if (position === undefined) return unproven("the ledger holds no record of this hash");
    const model = await ledger.readAt(position);
    if (model.body.kind !== "trust_model") return unproven("the record of this hash is no trust model");
    const again = recompute(chain, model.body.payload);
    return [
      passed("model", `${model.body.id} ${toHex(hash)} at position ${position}`),
      again.holds ? passed("decision", again.detail) : failed("decision", again.detail),
    ];
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "recordCorrupt") return unproven(error.message);
    throw error;
  }
};

const unproven = (rule: string): readonly VerificationStep[] => [
  failed("model", rule),
  skipped("decision", "a step before it failed"),
];

const filterOf = (query: ChainQuery): DecisionFilter => ({
  ...(query.principal === "" ? {} : { principal: query.principal }),
  ...(query.action === "" ? {} : { action: query.action }),
  ...(query.verdict === undefined ? {} : { verdict: query.verdict }),
  ...(query.fromMs === undefined ? {} : { fromMs: query.fromMs }),
  ...(query.untilMs === undefined ? {} : { untilMs: query.untilMs }),
});

const matches = (
  query: ChainQuery,
  glob: (target: string) => boolean,
  { record, chain }: AuditedChain,
): boolean => {
  const { request } = chain;
  const { ts } = record.body;
  if (query.principal !== "" && query.principal !== request.subject && query.principal !== request.caller) {
    return false;
  }
  if (query.action !== "" && query.action !== request.action) return false;
  if (query.verdict !== undefined && query.verdict !== chain.verdict) return false;
  if (query.fromMs !== undefined && ts < query.fromMs) return false;
  if (query.untilMs !== undefined && ts >= query.untilMs) return false;
  return glob(request.target);
};

/** What a page token is bound to: another caller, filter or order makes another walk. */
const walkOf = (caller: Caller, tenant: string, query: ChainQuery): CborValue => [
  caller.principal,
  tenant,
  query.principal,
  query.action,
  query.targetGlob,
  query.verdict ?? null,
  query.fromMs ?? null,
  query.untilMs ?? null,
  query.order,
];

const listChains = async (
  ledger: Ledger,
  compileGlob: AuditDependencies["compileGlob"],
  caller: Caller,
  query: ChainQuery,
  signal: AbortSignal,
): Promise<ChainPage> => {
  const tenant = tenantFor(caller, query.tenant);
  const pageSize = query.pageSize === 0 ? pageSizeDefault : query.pageSize;
  if (pageSize > pageSizeMax) {
    return fail({ kind: "invalidField", field: "page_size", rule: `must be at most ${pageSizeMax}` });
  }
  const glob = query.targetGlob === "" ? () => true : compileGlob(query.targetGlob);
  const walk = walkOf(caller, tenant, query);
  const authenticate = (bytes: Uint8Array): Promise<Uint8Array> => ledger.authenticate(tenant, bytes);
  const from = query.pageToken === "" ? undefined : await parsePageToken(query.pageToken, walk, authenticate);
  const size = from?.size ?? ledger.size;
  const chains: AuditedChain[] = [];
  let candidates: bigint[] = [];
  const flush = async (): Promise<void> => {
    const read = await Promise.all(candidates.map((position) => ledger.readAt(position)));
    candidates = [];
    for (const record of read) {
      const audited = { record, chain: parseFrozenChain(record.body.payload) };
      if (record.body.tenant === tenant && matches(query, glob, audited)) chains.push(audited);
    }
  };
  let scanned = 0;
  let next: bigint | undefined;
  const positions = ledger.decisions({
    tenant,
    filter: filterOf(query),
    order: query.order,
    size,
    ...(from === undefined ? {} : { start: from.next }),
    // One more than is looked at: it says where the next page starts.
    scanMax: listScanEntriesMax + 1,
  });
  for await (const { position, skipped: isStranger } of positions) {
    if (signal.aborted) return fail({ kind: "cancelled" });
    // Never more candidates than the page has room for, so that none is read in vain or lost.
    if (candidates.length === Math.min(readAheadMax, pageSize - chains.length)) await flush();
    if (chains.length === pageSize || scanned === listScanEntriesMax) {
      next = position;
      break;
    }
    scanned += 1;
    if (!isStranger) candidates.push(position);
  }
  await flush();
  const nextPageToken = next === undefined ? "" : await formatPageToken({ size, next }, walk, authenticate);
  return { chains, nextPageToken, ledgerSize: size };
};

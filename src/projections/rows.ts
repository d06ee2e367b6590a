/** Rows out of verified records: the same records give the same rows, whatever brought them. Pure. */
import { Fault } from "@sigil/core/errors";
import { FEATURES } from "@sigil/core/model";
import {
  decodeBody,
  decodeEnvelope,
  parseAttestationRecord,
  parseErasure,
  readDecision,
  readModuleRun,
  parseProposal,
  parseProposalEnding,
  type RecordBody,
} from "@sigil/core/record";
import type { Place, PlacedRecord } from "./consumer.ts";
import { failProjection } from "./fault.ts";
import { appendedNames, type AppendedTable, type Cell, type Row } from "./tables.ts";
import { isReplaced, viewJson, viewText } from "./view.ts";

/** A position is a `bigint` of the database, which has a sign. */
const positionMax = 2n ** 63n - 1n;

export type Rows = Readonly<Record<AppendedTable, readonly Row[]>>;

type Placed = { readonly position: bigint } & PlacedRecord;

const versionRow = ({ position, leaf, record }: Place): Row => {
  const none = {
    tenant: null,
    space: null,
    id: null,
    kind: null,
    schema_version: null,
    at: null,
    hash: null,
    prev: null,
    payload: null,
    nul_replaced: null,
    witnesses: null,
    envelope: null,
  };
  if (record === undefined) return { position, leaf, erased: true, ...none };
  const { body, hash, envelope } = record;
  return {
    position,
    leaf,
    erased: false,
    tenant: body.tenant,
    space: body.space,
    id: body.id,
    kind: viewText(body.kind),
    schema_version: body.schemaVersion,
    at: body.ts,
    hash,
    prev: body.prev,
    payload: viewJson(body.payload),
    nul_replaced: isReplaced([body.kind, body.payload, body.links.map(({ label }) => label)]),
    witnesses: decodeEnvelope(envelope).attestations.length,
    envelope,
  };
};

const linkRows = ({ position, body }: Placed): readonly Row[] =>
  body.links.map(({ label, target }, index) => ({
    position,
    index,
    tenant: body.tenant,
    label: viewText(label),
    target,
  }));

const named = ({ position, body }: Placed): Row => ({
  position,
  tenant: body.tenant,
  id: body.id,
  at: body.ts,
});

type Numbers = Readonly<Record<string, number>>;

const perFeature = (prefix: string, numbers: Numbers): Row =>
  Object.fromEntries(FEATURES.map((feature) => [`${prefix}_${feature}`, numbers[feature] ?? null]));

/** What a model of another time had beside the features of today; null where there is none. */
const others = (numbers: Numbers): Cell => {
  const entries = Object.entries(numbers).filter(([name]) => !FEATURES.some((feature) => feature === name));
  return entries.length === 0 ? null : viewJson(Object.fromEntries(entries));
};

const decisionRow = (placed: Placed): Row => {
  const { request, model, review, features, contributions, ...chain } = readDecision(placed.body);
  return {
    ...named(placed),
    action: viewText(request.action),
    target: viewText(request.target),
    subject: viewText(request.subject),
    caller: viewText(request.caller),
    level: request.loa,
    min_level: request.minLoa ?? null,
    session: viewText(request.session),
    input_digest: request.inputDigest,
    input_bytes: request.inputBytes,
    input_kept: request.inputDigest === null ? null : request.input !== null,
    metadata: viewJson(request.metadata),
    model_id: viewText(model.id),
    model_hash: model.hash,
    ...perFeature("feature", features),
    other_features: others(features),
    ...perFeature("contribution", contributions),
    other_contributions: others(contributions),
    z: chain.z,
    score: chain.score,
    threshold: chain.threshold,
    review_low: review?.low ?? null,
    review_high: review?.high ?? null,
    verdict: chain.verdict,
    reason: chain.reason,
    steps: viewJson(chain.steps),
    duration_us: chain.durationUs,
    caller_seq: chain.callerSeq ?? null,
  };
};

const proposalRow = (placed: Placed): Row => {
  const proposal = parseProposal(placed.body.payload);
  const { kind, tenant, space, id } = decodeBody(proposal.body);
  return {
    ...named(placed),
    hash: placed.hash,
    for_kind: viewText(kind),
    for_tenant: tenant,
    for_space: space,
    for_id: id,
    bodies: 1 + proposal.with.length,
    base: proposal.base,
    epoch: proposal.epoch,
    expires_at: proposal.expiresMs,
    proposer: viewText(proposal.proposer),
    reason: viewText(proposal.reason),
    commit: proposal.commit,
  };
};

const endingRow = (placed: Placed): Row => {
  const { proposal, outcome, reason } = parseProposalEnding(placed.body.payload);
  return { ...named(placed), proposal: viewText(proposal), outcome, reason: viewText(reason) };
};

const attestationRow = (placed: Placed): Row => {
  const { proposal, witness, role, statement } = parseAttestationRecord(placed.body.payload);
  return { ...named(placed), proposal: viewText(proposal), witness: viewText(witness), role, statement };
};

const moduleRunRow = (placed: Placed): Row => {
  const run = readModuleRun(placed.body);
  const { limits, usage } = run;
  return {
    ...named(placed),
    module: viewText(run.module),
    version: run.version,
    digest: run.digest,
    other_digest: run.otherDigest,
    caller: viewText(run.caller),
    input_digest: run.inputDigest,
    input_bytes: run.inputBytes,
    output_digest: run.outputDigest,
    limit_wall_ms: limits.wallMs,
    limit_memory_pages: limits.memoryPages,
    limit_output_bytes: limits.outputBytes,
    limit_log_bytes: limits.logBytes,
    limit_input_bytes: limits.inputBytes,
    limit_host_calls: limits.hostCalls,
    wall_us: usage?.wallUs ?? null,
    cpu_us: usage?.cpuUs ?? null,
    memory_bytes_peak: usage?.memoryBytesPeak ?? null,
    read_bytes: usage?.inputBytes ?? null,
    output_bytes: usage?.outputBytes ?? null,
    log_bytes: usage?.logBytes ?? null,
    host_calls: usage?.hostCalls ?? null,
    ended: run.end,
    exit_code: run.exitCode,
    reason: viewText(run.reason),
  };
};

/** Kinds with a table of their own. */
const kindTables: Readonly<Record<string, readonly [AppendedTable, (placed: Placed) => Row]>> = {
  frozen_chain: ["decisions", decisionRow],
  proposal: ["proposals", proposalRow],
  proposal_ending: ["proposal_endings", endingRow],
  attestation: ["attestations", attestationRow],
  module_run: ["module_runs", moduleRunRow],
};

/** @throws ProjectionFault: unstorable. */
export const rowsOf = (places: readonly Place[]): Rows => {
  const rows = Object.fromEntries(appendedNames.map((name) => [name, [] as Row[]])) as Record<
    AppendedTable,
    Row[]
  >;
  for (const place of places) {
    const { position, record } = place;
    const refuse = (rule: string, cause?: unknown): never =>
      failProjection({ kind: "unstorable", position, rule }, { cause });
    if (position > positionMax) refuse("its position has more than 63 bits");
    try {
      rows.record_versions.push(versionRow(place));
      if (record === undefined) continue;
      const placed = { position, ...record };
      rows.links.push(...linkRows(placed));
      const own = Object.hasOwn(kindTables, record.body.kind) ? kindTables[record.body.kind] : undefined;
      if (own !== undefined) rows[own[0]].push(own[1](placed));
    } catch (cause) {
      if (!(cause instanceof Fault)) throw cause;
      refuse(cause.message, cause);
    }
  }
  return rows;
};

/** Names a head: a tenant has no "/", and a space is one of two words. */
export const headName = ({ tenant, space, id }: Row): string => [tenant, space, id].map(String).join("/");

/**
 * The newest version of each id in these places, and how many versions of it there are.
 * @param before heads that a store without transactions has, by name: each is counted on, and what is not newer than it
 * was counted before.
 */
export const headsOf = (
  places: readonly Place[],
  before: ReadonlyMap<string, Row> = new Map(),
): readonly Row[] => {
  const rows = new Map<string, Row>();
  for (const { position, record } of places) {
    if (record === undefined || record.body.kind === "frozen_chain") continue;
    const { body, hash } = record;
    const { tenant, space, id, kind, ts } = body;
    const name = headName({ tenant, space, id });
    const known = rows.get(name) ?? before.get(name);
    const newest = known?.["position"];
    if (typeof newest === "bigint" && position <= newest) continue;
    rows.set(name, {
      tenant,
      space,
      id,
      kind: viewText(kind),
      position,
      hash,
      versions: Number(known?.["versions"] ?? 0) + 1,
      is_ended: kind === "tombstone",
      first_at: known?.["first_at"] ?? ts,
      last_at: ts,
    });
  }
  return [...rows.values()];
};

export type ErasureOrder = { readonly tenant: string; readonly position: bigint };

const isOrder = ({ kind, space }: RecordBody): boolean => kind === "erasure" && space === "system";

/** Whether it accounts for erased records: the ledger's report of an erasure. */
export const isErasureReport = ({ record }: Place): boolean =>
  record?.body.kind === "erased" && record.body.space === "system";

/** Tenants whose records end here: everything of theirs below the order's position. */
export const erasuresIn = (places: readonly Place[]): readonly ErasureOrder[] =>
  places.flatMap(({ position, record }) =>
    record !== undefined && isOrder(record.body)
      ? [{ tenant: parseErasure(record.body.payload).tenant, position }]
      : [],
  );

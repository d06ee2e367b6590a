/** `sigil audit completeness`: which decisions a caller has in a span of time, and that there is no other. */
import {
  CompletenessEnd,
  ProofError,
  ProveCompletenessResponse,
  readNumberFile,
  SigilError,
  walkKeys,
  type KeyWalk,
  type NumberedRecord,
  type RememberedNumber,
  type SigilConnection,
} from "@sigil/client";
import {
  canonicalSubject,
  parseCallerHead,
  readDecision,
  spellingOr,
  type RecordBody,
} from "@sigil/core/record";
import { openRecord, readRecord } from "@sigil/core/verify";
import { exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, readCaller, withConnection } from "../call/connection.ts";
import { tenantFlag, timeOf } from "../call/listing.ts";
import { genesisFlag, genesisOf, orUnproven } from "../call/from-genesis.ts";
import { examineRecord } from "../call/proven-record.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

const refuse = (rule: string): never => {
  throw new ProofError(`the server's answer does not prove what it says: ${rule}`);
};

/** Whose number a record says, and which. */
const numberIn = (body: RecordBody): { readonly caller: string; readonly seq: number } => {
  if (body.kind === "caller_head") return parseCallerHead(body.payload);
  if (body.kind !== "frozen_chain") return refuse(`a ${printable(body.kind)} has no number`);
  const { request, callerSeq } = readDecision(body);
  return { caller: request.caller, seq: callerSeq ?? refuse("a decision has no number") };
};

type Verified = {
  readonly position: bigint;
  readonly body: RecordBody;
  readonly origin: string;
  readonly caller: string;
  readonly seq: number;
};

const verified = async (
  walk: Pick<KeyWalk, "verifyRecord">,
  { record, callerSeq, inclusionProof }: NumberedRecord,
  checkpoint: string,
): Promise<Verified> => {
  const { envelope, position } = record ?? refuse("a record is missing");
  await walk.verifyRecord({ position, envelope, inclusionProof, checkpoint });
  const { body } = examineRecord(
    { record },
    { id: undefined, space: undefined, tenant: undefined, hash: undefined },
  );
  const { origin } = openRecord(position, envelope).statement;
  const { caller, seq } = numberIn(body);
  if (BigInt(seq) !== callerSeq) refuse(`the number at position ${position} is ${seq} and not ${callerSeq}`);
  return { position, body, origin, caller, seq };
};

const ends: ReadonlyMap<CompletenessEnd, string> = new Map([
  [CompletenessEnd.COMPLETENESS_END_DECISION, "a decision after the span"],
  [CompletenessEnd.COMPLETENESS_END_HEAD, "the caller's newest number, recorded after the span"],
  [CompletenessEnd.COMPLETENESS_END_NEWEST, "the caller's newest; nothing is claimed after it"],
]);

/** What the answer must be about. Times in milliseconds of Unix time. */
export type Asked = {
  /** Undefined if the caller's name is not known here. */
  readonly caller: string | undefined;
  /** Undefined for the tenant of whoever asks. */
  readonly tenant: string | undefined;
  readonly fromMs: number | undefined;
  readonly untilMs: number | undefined;
};

export type Whose = { readonly caller: string; readonly tenant: string };

/**
 * @returns whose numbers they are, as the records say.
 * @throws ProofError unless the records are of whoever was asked about, are numbered, and enclose the span.
 */
export const requireProof = async (
  walk: Pick<KeyWalk, "verifyRecord">,
  answer: ProveCompletenessResponse,
  asked: Asked,
): Promise<Whose> => {
  const { before, after, end, decisions, checkpoint } = answer;
  const last = await verified(walk, after ?? refuse("nothing ends the span"), checkpoint);
  const first = before && (await verified(walk, before, checkpoint));
  const { caller, origin } = last;
  const { tenant } = last.body;
  if (
    asked.caller !== undefined &&
    caller !== spellingOr(canonicalSubject(asked.caller, origin), asked.caller)
  )
    refuse(`it is about ${printable(caller)}`);
  if (asked.tenant !== undefined && tenant !== asked.tenant)
    refuse(`it is about tenant ${printable(tenant)}`);
  if (first !== undefined) {
    if (first.body.tenant !== tenant || first.caller !== caller) refuse("the two are not one caller's");
    if (first.position > last.position) refuse("the two are not in the order of the ledger");
    if (asked.fromMs !== undefined && first.body.ts >= asked.fromMs)
      refuse("the first is not before the span");
  }
  if (!ends.has(end)) refuse("it does not say how the span ends");
  const isDecision = end === CompletenessEnd.COMPLETENESS_END_DECISION;
  const isOpen = end === CompletenessEnd.COMPLETENESS_END_NEWEST;
  const isHead = last.body.kind === "caller_head";
  if (!isOpen && isHead === isDecision) refuse("the span does not end as it says");
  if (!isOpen && asked.untilMs !== undefined && last.body.ts < asked.untilMs)
    refuse("the last is not after the span");
  if (BigInt(last.seq - (first?.seq ?? 0) - (isDecision ? 1 : 0)) !== decisions)
    refuse("it counts otherwise");
  return { caller, tenant };
};

const placeOf = (each: NumberedRecord | undefined): string | undefined =>
  each && `number ${each.callerSeq} at position ${each.record?.position ?? "?"}`;

const formatAnswer = (answer: ProveCompletenessResponse, whose: Whose | undefined): string =>
  formatPairs([
    ["caller", whose && `${printable(whose.caller)} of tenant ${printable(whose.tenant)}`],
    ["decisions", `${answer.decisions} in the span, and no other`],
    ["before", placeOf(answer.before) ?? "none: numbers begin at 1"],
    ["end", `${placeOf(answer.after) ?? ""}: ${ends.get(answer.end) ?? "unknown"}`],
    [
      "restored at",
      answer.restorations.length === 0
        ? undefined
        : `${answer.restorations.map((each) => each.ledgerPosition).join(", ")}: what was lost there is not counted`,
    ],
    [
      "proved",
      whose ? "yes, from the genesis record" : "not here; --genesis HASH verifies it on this machine",
    ],
  ]);

const isNotFound = (error: unknown): boolean => error instanceof SigilError && error.codeName === "NOT_FOUND";

/**
 * What somebody remembers of the caller: the decision is where it was, under its number, and numbers go as far.
 * @throws ProofError naming what is not there.
 */
const requireRemembered = async (
  connection: SigilConnection,
  walk: KeyWalk,
  answer: ProveCompletenessResponse,
  remembered: RememberedNumber,
): Promise<void> => {
  const { seq, position, auditId, caller, origin, tenant } = remembered;
  const differ = (rule: string): never => {
    throw new ProofError(
      `number ${seq} is remembered, ${printable(auditId)} at position ${position}: ${rule}`,
    );
  };
  if (origin !== walk.origin) differ(`of ${printable(origin)}, and this ledger is ${printable(walk.origin)}`);
  const newest = answer.after?.callerSeq ?? 0n;
  if (newest < seq) differ(`the ledger's newest number is ${newest}`);
  const found = await connection.audit
    .verifyFrozenChain({ auditId, tenant })
    .catch((error: unknown) =>
      isNotFound(error) ? differ("the ledger does not have it") : Promise.reject(error),
    );
  const { envelope, ledgerPosition, inclusionProof, checkpoint } = found;
  await walk.verifyRecord({ position: ledgerPosition, envelope, inclusionProof, checkpoint });
  const body = readRecord(openRecord(ledgerPosition, envelope), {});
  const there = numberIn(body);
  const isThere =
    body.id === auditId &&
    body.tenant === tenant &&
    there.caller === spellingOr(canonicalSubject(caller, origin), caller) &&
    BigInt(there.seq) === seq &&
    ledgerPosition === position;
  if (!isThere) differ(`the ledger has that decision as number ${there.seq} at position ${ledgerPosition}`);
};

/** @throws usage for a file that cannot be compared with what is asked. */
const rememberedOf = async (given: Arguments): Promise<RememberedNumber | undefined> => {
  const path = given.text("remembered");
  if (path === undefined) return undefined;
  if (given.text("genesis") === undefined)
    usage("--remembered goes with --genesis: only what is verified counts");
  if (["from", "until"].some((flag) => given.text(flag) !== undefined))
    usage("--remembered is about all decisions: leave out --from and --until");
  const read = await readNumberFile(path).catch((error: unknown) =>
    usage(error instanceof Error ? error.message : `${path}: cannot be read`),
  );
  const remembered = read ?? usage(`${path}: there is no such file`);
  for (const [flag, name] of [
    ["who", "caller"],
    ["tenant", "tenant"],
  ] as const) {
    if ((given.text(flag) ?? remembered[name]) !== remembered[name])
      usage(`${path}: is of ${name} ${printable(remembered[name])}, not of --${flag}`);
  }
  return remembered;
};

const prove = async (given: Arguments, terminal: Terminal) => {
  const [genesis, fromTime, untilTime] = [genesisOf(given), timeOf(given, "from"), timeOf(given, "until")];
  const remembered = await rememberedOf(given);
  return withConnection(given, terminal, async (connection) => {
    const answer = await connection.audit.proveCompleteness({
      principal: given.text("who") ?? remembered?.caller ?? "",
      tenant: given.text("tenant") ?? remembered?.tenant ?? "",
      fromTime,
      untilTime,
    });
    const asked = {
      caller: given.text("who") ?? remembered?.caller ?? readCaller(given, terminal)?.principal,
      tenant: given.text("tenant") ?? remembered?.tenant,
      fromMs: fromTime?.getTime(),
      untilMs: untilTime?.getTime(),
    };
    const walk = genesis && (await walkKeys(connection, genesis));
    const whose = walk && (await requireProof(walk, answer, asked));
    if (walk !== undefined && remembered !== undefined)
      await requireRemembered(connection, walk, answer, remembered);
    terminal.print(
      given.has("json")
        ? JSON.stringify(ProveCompletenessResponse.toJSON(answer))
        : formatAnswer(answer, whose),
    );
    return answer.restorations.length === 0 ? exitCodes.ok : exitCodes.no;
  });
};

export const auditCompleteness: Command = {
  name: "audit completeness",
  about:
    "Prove how many decisions a caller has in a span of time, and that none is left out: its decisions have numbers without\n" +
    "a gap, and the records around the span say which. Without --who about oneself.",
  flags: {
    who: { value: "ID", about: "The caller; default whoever asks. Another takes level Observer." },
    from: { value: "TIME", about: "The span begins here, included; default the beginning of the ledger." },
    until: { value: "TIME", about: "The span ends here, excluded; default now." },
    remembered: {
      value: "FILE",
      about:
        "What a client remembers of the caller: its newest decision must be where it was. Goes with --genesis.",
    },
    ...genesisFlag,
    ...tenantFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit completeness --who svc/gateway --from 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z",
    "sigil audit completeness --genesis HASH",
    "sigil audit completeness --genesis HASH --remembered /var/lib/gateway/numbers.json",
  ],
  exits: [
    "0  proved",
    "1  not proved, not what is remembered, or the ledger was restored from a backup in between, which may have lost decisions",
    "2  usage error, not found, or no answer",
  ],
  run: (given, terminal) => orUnproven(terminal, () => prove(given, terminal)),
};

/** `sigil audit completeness`: which decisions a caller has in a span of time, and that there is no other. */
import {
  CompletenessEnd,
  ProofError,
  ProveCompletenessResponse,
  walkKeys,
  type KeyWalk,
  type NumberedRecord,
} from "@sigil/client";
import { parseCallerHead, readDecision, type RecordBody } from "@sigil/core/record";
import { openRecord, readRecord } from "@sigil/core/verify";
import { exitCodes, jsonFlag, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { tenantFlag, timeOf } from "../call/listing.ts";
import { genesisFlag, genesisOf, orUnproven } from "../call/from-genesis.ts";
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

type Verified = { readonly position: bigint; readonly body: RecordBody };

const verified = async (
  walk: KeyWalk,
  { record, inclusionProof }: NumberedRecord,
  checkpoint: string,
): Promise<Verified> => {
  const { envelope, position } = record ?? refuse("a record is missing");
  await walk.verifyRecord({ position, envelope, inclusionProof, checkpoint });
  return { position, body: readRecord(openRecord(position, envelope), {}) };
};

type Span = { readonly fromMs: number | undefined; readonly untilMs: number | undefined };

/** @throws ProofError unless the two records have numbers of one caller, and their times enclose the span. */
const requireProof = async (walk: KeyWalk, answer: ProveCompletenessResponse, span: Span): Promise<void> => {
  const { before, after, end, decisions, checkpoint } = answer;
  const last = await verified(walk, after ?? refuse("nothing ends the span"), checkpoint);
  const first = before && (await verified(walk, before, checkpoint));
  const [from, to] = [first && numberIn(first.body), numberIn(last.body)];
  if (first !== undefined && from !== undefined) {
    if (first.body.tenant !== last.body.tenant || from.caller !== to.caller)
      refuse("the two are not one caller's");
    if (first.position > last.position) refuse("the two are not in the order of the ledger");
    if (span.fromMs !== undefined && first.body.ts >= span.fromMs) refuse("the first is not before the span");
  }
  const isDecision = end === CompletenessEnd.COMPLETENESS_END_DECISION;
  const isOpen = end === CompletenessEnd.COMPLETENESS_END_NEWEST;
  const isHead = last.body.kind === "caller_head";
  if (!isOpen && isHead !== (end === CompletenessEnd.COMPLETENESS_END_HEAD)) {
    refuse("the span does not end as it says");
  }
  if (!isOpen && span.untilMs !== undefined && last.body.ts < span.untilMs)
    refuse("the last is not after the span");
  if (BigInt(to.seq - (from?.seq ?? 0) - (isDecision ? 1 : 0)) !== decisions) refuse("it counts otherwise");
};

const ends: ReadonlyMap<CompletenessEnd, string> = new Map([
  [CompletenessEnd.COMPLETENESS_END_DECISION, "a decision after the span"],
  [CompletenessEnd.COMPLETENESS_END_HEAD, "the caller's newest number, recorded after the span"],
  [CompletenessEnd.COMPLETENESS_END_NEWEST, "the caller's newest; nothing is claimed after it"],
]);

const placeOf = (each: NumberedRecord | undefined): string | undefined =>
  each && `number ${each.callerSeq} at position ${each.record?.position ?? "?"}`;

const formatAnswer = (answer: ProveCompletenessResponse, isProved: boolean): string =>
  formatPairs([
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
      isProved ? "yes, from the genesis record" : "not here; --genesis HASH verifies it on this machine",
    ],
  ]);

const prove = async (given: Arguments, terminal: Terminal) => {
  const [genesis, fromTime, untilTime] = [genesisOf(given), timeOf(given, "from"), timeOf(given, "until")];
  return withConnection(given, terminal, async (connection) => {
    const answer = await connection.audit.proveCompleteness({
      principal: given.text("who") ?? "",
      tenant: given.text("tenant") ?? "",
      fromTime,
      untilTime,
    });
    if (genesis !== undefined) {
      const span = { fromMs: fromTime?.getTime(), untilMs: untilTime?.getTime() };
      await requireProof(await walkKeys(connection, genesis), answer, span);
    }
    terminal.print(
      given.has("json")
        ? JSON.stringify(ProveCompletenessResponse.toJSON(answer))
        : formatAnswer(answer, genesis !== undefined),
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
    ...genesisFlag,
    ...tenantFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit completeness --who svc/gateway --from 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z",
    "sigil audit completeness --genesis HASH",
  ],
  exits: [
    "0  proved",
    "1  not proved, or the ledger was restored from a backup in between, which may have lost decisions",
    "2  usage error, not found, or no answer",
  ],
  run: (given, terminal) => orUnproven(terminal, () => prove(given, terminal)),
};

/** Proofs of completeness as protobuf. */
import {
  CompletenessEnd,
  type NumberedRecord,
  type ProveCompletenessRequest,
  type ProveCompletenessResponse,
} from "@sigil/proto/sigil/audit/v1/audit";
import { isAtLeast } from "@sigil/core/record";
import type { Boundary, Completeness, ProveCompleteness } from "../../audit/completeness.ts";
import { fail, invalidField } from "../../errors.ts";
import type { Caller } from "../../identity/caller.ts";
import type { Answer } from "../call/unary.ts";
import { formatRecord } from "../canon/records.ts";
import { readPrincipal, readTenant, readTimeMs } from "../message/fields.ts";

const ends = {
  decision: CompletenessEnd.COMPLETENESS_END_DECISION,
  head: CompletenessEnd.COMPLETENESS_END_HEAD,
  newest: CompletenessEnd.COMPLETENESS_END_NEWEST,
} satisfies Record<Completeness["end"], CompletenessEnd>;

const formatBoundary = ({ record, seq, proof }: Boundary): NumberedRecord => ({
  record: formatRecord(record),
  callerSeq: BigInt(seq),
  inclusionProof: [...proof],
});

/** Whoever asks about itself sees its own decisions; about others it takes what listing theirs takes. */
const readWhose = (caller: Caller, principal: string, trustDomain: string): string => {
  const asked = readPrincipal(principal, "principal", trustDomain);
  const whose = asked === "" ? caller.principal : asked;
  if (whose === "") return invalidField("principal", "must be given: an anonymous caller has no numbers");
  if (whose !== caller.principal && !isAtLeast(caller.level, "observer")) {
    const rpc = "completeness of another caller's decisions";
    return fail({ kind: "levelTooLow", rpc, needed: "observer", actual: caller.level });
  }
  return whose;
};

export const completenessHandler =
  (
    prove: ProveCompleteness,
    trustDomain: string,
  ): Answer<ProveCompletenessRequest, ProveCompletenessResponse> =>
  async (caller, request) => {
    const { before, after, end, decisions, restorations, tree } = await prove(caller, {
      principal: readWhose(caller, request.principal, trustDomain),
      tenant: readTenant(request.tenant),
      fromMs: readTimeMs(request.fromTime, "from_time"),
      untilMs: readTimeMs(request.untilTime, "until_time"),
    });
    return {
      before: before && formatBoundary(before),
      after: formatBoundary(after),
      end: ends[end],
      decisions: BigInt(decisions),
      restorations: restorations.map((ledgerPosition) => ({ ledgerPosition })),
      checkpoint: tree.checkpoint,
    };
  };

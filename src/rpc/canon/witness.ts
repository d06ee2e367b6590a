/** WitnessService over gRPC: the registry as it is, and proposals that change it. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  WitnessServiceService as Witnesses,
  type GetQuorumRequest,
  type GetQuorumResponse,
  type ListWitnessesRequest,
  ListWitnessesResponse,
  type ProposeWitnessChangeRequest,
  type ProposeWitnessChangeResponse,
} from "@sigil/proto/sigil/canon/v1/witness";
import type { QuorumService } from "../../canon/service.ts";
import { formatProposal, formatQuorum, formatWitnesses } from "./messages.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readWitnessProposal } from "./proposal-fields.ts";
import { formatVersioned } from "./records.ts";
import { fitOne, replyLimitOf } from "../bounds/reply-limit.ts";
import { unary } from "../call/unary.ts";

/** Who attests and with which key, where the stories about them are too long together. */
const withoutStories = (reply: ListWitnessesResponse): ListWitnessesResponse => ({
  ...reply,
  witnesses: reply.witnesses.map((witness) => ({ ...witness, authority: "", description: "" })),
});

export const witnessHandlers = (
  quorum: QuorumService,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  listWitnesses: unary<ListWitnessesRequest, ListWitnessesResponse>(
    rpc,
    Witnesses.listWitnesses.path,
    async (_caller, _request, call) => {
      const { registry } = await quorum.registry();
      const reply = { witnesses: formatWitnesses(registry), quorum: formatQuorum(registry) };
      return fitOne(ListWitnessesResponse, reply, [withoutStories], replyLimitOf(call));
    },
  ),
  proposeWitnessChange: unary<ProposeWitnessChangeRequest, ProposeWitnessChangeResponse>(
    rpc,
    Witnesses.proposeWitnessChange.path,
    async (caller, request, call) => {
      const asked = readWitnessProposal(request);
      const { proposal, auditId } = await quorum.proposeWitnessChange(caller, asked, call);
      return { proposal: formatProposal(proposal), auditId };
    },
  ),
  getQuorum: unary<GetQuorumRequest, GetQuorumResponse>(rpc, Witnesses.getQuorum.path, async () => {
    const { registry, record } = await quorum.registry();
    return { quorum: formatQuorum(registry), record: formatVersioned(record) };
  }),
});

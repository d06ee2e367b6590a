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
  Witness,
} from "@sigil/proto/sigil/canon/v1/witness";
import type { QuorumService } from "../../canon/service.ts";
import { formatProposal, formatQuorum, formatWitness } from "./messages.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readPageSize } from "../message/fields.ts";
import { readWitnessProposal } from "./proposal-fields.ts";
import { formatVersioned } from "./records.ts";
import { answerPage, fitOne, replyLimitOf } from "../bounds/reply-limit.ts";
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
    async (caller, { pageSize, pageToken }, call) => {
      const query = { pageSize: readPageSize(pageSize), pageToken };
      const list = async (asked: typeof query): Promise<ListWitnessesResponse> => {
        const { registry, witnesses, nextPageToken } = await quorum.witnesses(caller, asked);
        return { witnesses: witnesses.map(formatWitness), quorum: formatQuorum(registry), nextPageToken };
      };
      const [message, shorter] = [ListWitnessesResponse, [withoutStories]] as const;
      // Whoever asks for no page gets all of them, or an error: callers from before there were pages follow no token.
      if (query.pageSize === 0) return fitOne(message, await list(query), shorter, replyLimitOf(call));
      return answerPage({ message, items: "witnesses", item: Witness, query, list, shorter }, call);
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

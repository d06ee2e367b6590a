/** `sigil proposals`, `proposal`, `commit` and `withdraw`. */
import {
  CommitProposalResponse,
  GetProposalResponse,
  Proposal,
  ProposalState,
  Space,
  WithdrawProposalResponse,
  type SigilConnection,
} from "@sigil/client";
import { exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { limitFlag, limitOf, listAll } from "../call/listing.ts";
import { examineProposal, formatChanges, type FindRecord } from "./proposal-body.ts";
import { showFlipReport } from "./flip-report.ts";
import { formatProposal, formatProposals, parseState, proposalId, stateNames } from "./view.ts";
import { formatRecordFacts } from "../call/record-view.ts";
import { orRefusal } from "../call/refusal.ts";
import { printable } from "../terminal/terminal.ts";

const readState = (given: Arguments): ProposalState => {
  const text = given.text("state");
  if (text === undefined) return ProposalState.PROPOSAL_STATE_UNSPECIFIED;
  return parseState(text.toLowerCase()) ?? usage(`--state must be one of ${stateNames.join(", ")}`);
};

export const proposals: Command = {
  name: "proposals",
  about: "List proposals: open ones first, each group newest first. Takes level Observer.",
  flags: {
    state: { value: "STATE", about: `Only ${stateNames.join(", ")} ones.` },
    waiting: { value: "WITNESS", about: "Only open ones that this witness may attest and has not." },
    record: { value: "ID", about: "Only those that would change this record." },
    ...limitFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil proposals --key .sigil/keys/observer.pem --principal observer",
    "sigil proposals --waiting witness-1 --key .sigil/keys/witness-1.pem --principal witness/witness-1",
    "sigil proposals --state committed --record trust_model/active --json",
  ],
  exits: ["0  listed", "1  refused", "2  usage error, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [state, limit] = [readState(given), limitOf(given)];
      const filter = {
        state,
        waitingForWitness: given.text("waiting") ?? "",
        recordId: given.text("record") ?? "",
      };
      const listed = await withConnection(given, terminal, ({ canon }) =>
        listAll(limit, terminal, async (page) => {
          const { proposals: items, nextPageToken } = await canon.listProposals({ ...filter, ...page });
          return { items, nextPageToken };
        }),
      );
      if (given.has("json")) for (const each of listed) terminal.print(JSON.stringify(Proposal.toJSON(each)));
      else terminal.print(formatProposals(listed, terminal));
      return exitCodes.ok;
    }),
};

/** Fetches the version that a body replaces; undefined if it does not exist. */
export const findBy =
  ({ canon }: Pick<SigilConnection, "canon">): FindRecord =>
  async ({ id }, hash) => {
    const at = { $case: "hash", value: hash } as const;
    try {
      return (await canon.getRecord({ id, space: Space.SPACE_SYSTEM, at })).record;
    } catch {
      return undefined;
    }
  };

export const proposal: Command = {
  name: "proposal",
  about:
    "Show one proposal and its change, field by field. The change is read from the bytes that witnesses sign and compared\n" +
    "with the version they replace. Of a model also which recorded decisions it would flip, as its flip report says.\n" +
    "ID may be the uuid alone. Takes level Observer.",
  words: ["ID"],
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil proposal proposal/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11",
    "sigil proposal 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --json > proposal.json   # for sigil attest --proposal",
  ],
  exits: ["0  shown", "1  refused, or its bytes are not what it says they are", "2  not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, () =>
      withConnection(given, terminal, async (connection) => {
        const response = await connection.canon.getProposal({ id: proposalId(given.words[0]) });
        if (given.has("json")) {
          terminal.print(JSON.stringify(GetProposalResponse.toJSON(response)));
          return exitCodes.ok;
        }
        if (response.proposal === undefined) return usage("the server answered without a proposal");
        const examined = await examineProposal(response, findBy(connection));
        const { witnesses } = await connection.witness.listWitnesses({});
        const knownNames = witnesses.flatMap(({ id, owner }) => [id, owner]);
        terminal.print(`${formatProposal(response.proposal, terminal)}\n`);
        if (examined.kind === "refused") {
          terminal.note(`sigil: do not attest it: ${printable(examined.rule)}`);
          return exitCodes.no;
        }
        terminal.print(formatChanges(examined.changes, knownNames, terminal));
        showFlipReport(examined.flipReport, terminal);
        return exitCodes.ok;
      }),
    ),
};

export const commit: Command = {
  name: "commit",
  about:
    "Commit a proposal that enough witnesses have approved. Repeated, it gives the answer of the first time. Takes level\n" +
    "Mentor.",
  words: ["ID"],
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil commit proposal/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --key .sigil/keys/mentor.pem --principal mentor",
  ],
  exits: [
    "0  committed",
    "1  refused: approvals are missing, or it ended otherwise",
    "2  not found, or no answer",
  ],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.commitProposal({ id: proposalId(given.words[0]) }),
      );
      if (given.has("json")) terminal.print(JSON.stringify(CommitProposalResponse.toJSON(response)));
      else if (response.record !== undefined) {
        terminal.print(`${terminal.paint("green", "COMMITTED")}\n\n${formatRecordFacts(response.record)}`);
      }
      return exitCodes.ok;
    }),
};

export const withdraw: Command = {
  name: "withdraw",
  about: "Take an open proposal back. Only its proposer can, with level Mentor, or Root of tenant system.",
  words: ["ID"],
  flags: { reason: { value: "TEXT", about: "Why." }, ...jsonFlag, ...connectionFlags },
  examples: ['sigil withdraw proposal/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 --reason "wrong threshold"'],
  exits: ["0  withdrawn", "1  refused", "2  not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.withdrawProposal({ id: proposalId(given.words[0]), reason: given.text("reason") ?? "" }),
      );
      terminal.print(
        given.has("json")
          ? JSON.stringify(WithdrawProposalResponse.toJSON(response))
          : `WITHDRAWN  ${printable(response.proposal?.id ?? "")}`,
      );
      return exitCodes.ok;
    }),
};

/** `sigil keys destroy-tenant`: proposes to destroy a tenant's data keys. */
import { ProposeRecordResponse } from "@sigil/client";
import { erasureFault, erasurePrefix } from "@sigil/core/record";
import { exitCodes, jsonFlag, usage, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { orRefusal } from "../call/refusal.ts";

const readTenant = (tenant: string): string => {
  const fault = erasureFault(tenant);
  return fault === null ? tenant : usage(`TENANT ${fault}`);
};

export const keysDestroyTenant: Command = {
  name: "keys destroy-tenant",
  about:
    "Propose to erase a tenant: once enough witnesses have attested it, the tenant's data keys are destroyed. Nobody reads\n" +
    "or writes its records ever again, they answer FAILED_PRECONDITION (ERASED), and the tenant's name is used up. All\n" +
    "proofs and every other tenant stay as they are. CANNOT BE UNDONE once it is committed. Backups made before\n" +
    "still hold the keys, wrapped. Takes Root of tenant system.",
  words: ["TENANT"],
  flags: { ...proposingFlags, ...jsonFlag, ...connectionFlags },
  examples: [
    'sigil keys destroy-tenant acme --reason "the contract has ended" --key root.pem --principal root',
    "sigil attest proposal/… --key witness.key   # each witness; then",
    "sigil keys list --tenant acme --key root.pem --principal root   # destroyed",
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, or no answer"],
  run: (given, terminal) => {
    const tenant = readTenant(given.words[0] ?? "");
    const proposing = readProposing(given);
    const { reason } = proposing;
    if (reason === "") usage("--reason TEXT is needed: it stays beside what can no longer be read");
    return orRefusal(terminal, async () => {
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.proposeRecord({
          ...proposing,
          id: erasurePrefix + tenant,
          content: { $case: "payloadJson", value: JSON.stringify({ tenant, reason }) },
        }),
      );
      const { proposal, auditId } = response;
      if (proposal === undefined) return usage("the server answered without a proposal");
      terminal.print(
        given.has("json")
          ? JSON.stringify(ProposeRecordResponse.toJSON(response))
          : formatProposed(proposal, auditId, terminal),
      );
      return exitCodes.ok;
    });
  },
};

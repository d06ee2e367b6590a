/**
 * `sigil keys walk`: verifies every key of a deployment from the genesis record's hash, without trusting the server,
 * and the newest checkpoint with the derived key.
 */
import { walkKeys, type SigilConnection } from "@sigil/client";
import { parsePublicKey, toBase64Url, toHex, type Hash } from "@sigil/core/bytes";
import { formatVerifierKey } from "@sigil/core/merkle";
import { exitCodes, jsonFlag, required, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { orUnproven, parseGenesisHash } from "../call/from-genesis.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, formatTable } from "../terminal/terminal.ts";

const walk = async (genesis: Hash, connection: SigilConnection) => {
  // The checkpoint first, so that the keys read afterwards cover its size.
  const { checkpoint: note } = await connection.audit.getCheckpoint({});
  const walked = await walkKeys(connection, genesis);
  const { origin, keys, records } = walked;
  return { origin, keys, records, checkpoint: await walked.verifyCheckpoint(note) };
};

type Walk = Awaited<ReturnType<typeof walk>>;

const keysOf = ({ keys }: Walk) =>
  keys.map((key) => ({
    role: key.role,
    thumbprint: toBase64Url(key.thumbprint),
    public_key: toBase64Url(key.publicKey),
    first_position: String(key.firstPosition),
    last_position: key.lastPosition === null ? null : String(key.lastPosition),
    state: key.state,
  }));

/** The checkpoint key in use as others' policies name it (C2SP tlog-policy: `log VKEY`). */
const logKeyOf = ({ origin, keys }: Walk): string | undefined => {
  const newest = keys.findLast(({ role }) => role === "checkpoint");
  if (newest === undefined) return undefined;
  return formatVerifierKey({ name: origin, use: "log", publicKey: parsePublicKey(newest.publicKey) });
};

const formatWalk = (walked: Walk): string => {
  const { origin, records, checkpoint } = walked;
  const table = formatTable(
    [
      { title: "ROLE" },
      { title: "THUMBPRINT" },
      { title: "FIRST", align: "right" },
      { title: "LAST", align: "right" },
      { title: "STATE" },
    ],
    keysOf(walked).map((key) => [
      key.role,
      key.thumbprint,
      key.first_position,
      key.last_position ?? "–",
      key.state,
    ]),
  );
  const facts = formatPairs([
    ["log key", logKeyOf(walked)],
    ["verified", `${records} records of ${origin} from genesis`],
    ["checkpoint", `size ${checkpoint.size}, root ${toHex(checkpoint.root)}`],
  ]);
  return [table, "", facts].join("\n");
};

const walkJson = (genesis: Hash, walked: Walk): string => {
  const { size, root } = walked.checkpoint;
  const tree = { ledger_size: String(size), root: toHex(root) };
  const facts = { origin: walked.origin, genesis: toHex(genesis), log_key: logKeyOf(walked), ...tree };
  return JSON.stringify({ ...facts, keys: keysOf(walked) });
};

export const keysWalk: Command = {
  name: "keys walk",
  about:
    "Verify every key of a deployment from the hash of its genesis record: each announcement by the key before it, then\n" +
    "the newest checkpoint by the key that follows. Anybody may.",
  flags: {
    genesis: { value: "HASH", about: "The genesis record's hash, as sigil init printed it." },
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: ["sigil keys walk --genesis 5be4f6a1…", "sigil keys walk --genesis 5be4f6a1… --json"],
  exits: ["0  verified", "1  not verified", "2  usage error, or no answer"],
  run: (given, terminal) => {
    const genesis = parseGenesisHash(required(given, "genesis", "HASH"));
    return orRefusal(terminal, () =>
      orUnproven(terminal, async () => {
        const walked = await withConnection(given, terminal, (connection) => walk(genesis, connection));
        terminal.print(given.has("json") ? walkJson(genesis, walked) : formatWalk(walked));
        return exitCodes.ok;
      }),
    );
  },
};

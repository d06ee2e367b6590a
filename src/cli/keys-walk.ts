/**
 * `sigil keys walk`: every key of a deployment, believed because of the genesis record's hash and nothing the server
 * says about itself. The newest checkpoint is verified with the key that follows.
 */
import type { SigilConnection } from "@sigil/client";
import { fromHex, parseHash, toBase64Url, toHex, type Hash } from "../record/bytes.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { parseCheckpoint, verifyCheckpoint, type Checkpoint } from "../merkle/checkpoint.ts";
import { parseNote } from "../merkle/note.ts";
import { walkKeys, type WalkedKeys } from "../keys/key-records.ts";
import { findSigner, keyState, officeHolder } from "../keys/ring.ts";
import { verifyForeign } from "../keys/verify.ts";
import { exitCodes, jsonFlag, required, usage, type Command } from "./command.ts";
import { connectionFlags, withConnection } from "./connection.ts";
import { orRefusal } from "./refusal.ts";
import { formatPairs, formatTable } from "./terminal.ts";

const readGenesis = (text: string): Hash => {
  try {
    return parseHash(fromHex(text));
  } catch {
    return usage(
      "--genesis must be the hash of the genesis record, 64 hexadecimal digits; sigil init prints it",
    );
  }
};

/** @throws malformedCheckpoint unless the walked key for its size signed it and is believed there. */
const verifyNote = async (note: string, { ring, origin }: WalkedKeys): Promise<Checkpoint> => {
  const { size } = parseCheckpoint(parseNote(note).text);
  const position = size === 0n ? 0n : size - 1n;
  const holder = officeHolder(ring, "checkpoint", position);
  if (holder === undefined) return fail({ kind: "malformedCheckpoint", rule: "no key is valid at its size" });
  const believed = findSigner(ring, "checkpoint", holder.thumbprint, position);
  if (believed.kind === "refused") return fail({ kind: "malformedCheckpoint", rule: believed.rule });
  return verifyCheckpoint(note, { origin, publicKey: holder.publicKey, verify: verifyForeign });
};

const walk = async (genesis: Hash, { audit, keys }: SigilConnection) => {
  // The checkpoint first: the keys that are read after it cover its size.
  const { checkpoint: note } = await audit.getCheckpoint({});
  const { records } = await keys.listKeyRecords({});
  const walked = await walkKeys(
    genesis,
    records.map(({ ledgerPosition, envelope }) => ({ position: ledgerPosition, envelope })),
    { verify: verifyForeign },
  );
  return { ...walked, records: records.length, checkpoint: await verifyNote(note, walked) };
};

type Walk = Awaited<ReturnType<typeof walk>>;

const keysOf = ({ ring }: Walk) =>
  ring.entries.map((entry) => ({
    role: entry.role,
    thumbprint: toBase64Url(entry.thumbprint),
    public_key: toBase64Url(entry.publicKey),
    first_position: String(entry.validFrom),
    last_position: entry.validTo === null ? null : String(entry.validTo),
    state: keyState(entry),
  }));

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
    ["verified", `${records} records of ${origin} from genesis`],
    ["checkpoint", `size ${checkpoint.size}, root ${toHex(checkpoint.root)}`],
  ]);
  return [table, "", facts].join("\n");
};

const walkJson = (genesis: Hash, walked: Walk): string => {
  const { size, root } = walked.checkpoint;
  const tree = { ledger_size: String(size), root: toHex(root) };
  return JSON.stringify({ origin: walked.origin, genesis: toHex(genesis), ...tree, keys: keysOf(walked) });
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
  exits: ["0  verified", "1  not verified", "2  used wrongly, or could not ask"],
  run: (given, terminal) => {
    const genesis = readGenesis(required(given, "genesis", "HASH"));
    return orRefusal(terminal, async () => {
      try {
        const walked = await withConnection(given, terminal, (connection) => walk(genesis, connection));
        terminal.print(given.has("json") ? walkJson(genesis, walked) : formatWalk(walked));
        return exitCodes.ok;
      } catch (error) {
        // Bytes that do not hold are a finding; how the command was used is not.
        if (!(error instanceof SigilFault) || error.error.kind === "usage") throw error;
        terminal.note(`sigil: ${error.message}`);
        return exitCodes.no;
      }
    });
  },
};

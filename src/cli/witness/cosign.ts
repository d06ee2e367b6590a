/**
 * `sigil witness cosign`: a witness fetches the ledger's newest checkpoint, verifies that it extends the one it signed
 * last, signs it, and stores it, so that a ledger that was rolled back or rewritten is detected. Source: C2SP
 * tlog-cosignature and tlog-witness; docs/spec/ledger.md §4.
 */
import { readFile } from "node:fs/promises";
import { ProofError, SigilError, walkKeys, type KeyWalk, type SigilConnection } from "@sigil/client";
import { toHex, type Hash } from "@sigil/core/bytes";
import {
  parseCheckpoint,
  type Checkpoint,
  cosignerName,
  signCosignature,
  verifyCosignature,
  formatNote,
  parseNote,
  type Note,
} from "@sigil/core/merkle";
import type { KeyPair } from "../../crypto/signing/keyfile.ts";
import { createSigner } from "../../crypto/signing/sign.ts";
import { verifyForeign } from "@sigil/core/keys";
import { replaceFile } from "../../ledger/append/anchor.ts";
import { exitCodes, jsonFlag, required, usage, type Command } from "../terminal/command.ts";
import { openConnection, readServer, serverFlags } from "../call/connection.ts";
import { orUnproven, parseGenesisHash } from "../call/from-genesis.ts";
import { readOwnKey } from "../terminal/own-key.ts";
import { orRefusal } from "../call/refusal.ts";
import { printable } from "../terminal/terminal.ts";

type Cosigning = {
  readonly genesis: Hash;
  readonly witness: string;
  readonly key: KeyPair;
  readonly state: string;
};

/** The last signed checkpoint. */
type Held = { readonly text: string; readonly note: Note; readonly checkpoint: Checkpoint };

const readText = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    return usage(`--state: ${path} cannot be read`);
  }
};

/** Reads the stored checkpoint and verifies the witness's own cosignature. @throws usage. */
const readHeld = async ({ state, witness, key }: Cosigning): Promise<Held | undefined> => {
  const text = await readText(state);
  if (text === undefined) return undefined;
  try {
    const note = parseNote(text);
    const checkpoint = parseCheckpoint(note.text);
    const name = cosignerName(checkpoint.origin, witness);
    await verifyCosignature(note, { name, publicKey: key.publicKey, verify: verifyForeign });
    return { text, note, checkpoint };
  } catch {
    return usage(`--state: ${state} is no checkpoint that ${witness} has cosigned with this key`);
  }
};

const fork = (state: string, rule: string): never => {
  throw new ProofError(`${rule}; not signed. ${state} and ${state}.contradiction prove it: keep both`);
};

/** Stores the contradicting checkpoint beside the signed one, as evidence. @throws ProofError. */
const contradict = async (
  { state }: Cosigning,
  held: Held,
  checkpoint: string,
  found: string,
): Promise<never> => {
  await replaceFile(`${state}.contradiction`, checkpoint);
  return fork(
    state,
    `you signed size ${held.checkpoint.size} (root ${toHex(held.checkpoint.root)}), ${found}`,
  );
};

/** Refuses a ledger that is smaller than before: it was rolled back. */
const refuseSetBack = async (
  cosigning: Cosigning,
  held: Held,
  walk: KeyWalk,
  { audit }: SigilConnection,
): Promise<never> => {
  const { checkpoint } = await audit.getCheckpoint({});
  const { size, root } = await walk.verifyCheckpoint(checkpoint);
  const found = `the ledger now has size ${size} (root ${toHex(root)})`;
  return contradict(cosigning, held, checkpoint, found);
};

/** Fetches the newest checkpoint and verifies that it extends the stored one. @throws ProofError, SigilError. */
const fetchGrown = async (
  cosigning: Cosigning,
  held: Held | undefined,
  connection: SigilConnection,
): Promise<string> => {
  const oldSize = held?.checkpoint.size ?? 0n;
  const answer = await connection.audit.getConsistencyProof({ oldSize }).catch((error: unknown) => {
    if (error instanceof SigilError && error.codeName === "OUT_OF_RANGE") return undefined;
    throw error;
  });
  // Read after the proof, so that the keys cover its checkpoint.
  const walk = await walkKeys(connection, cosigning.genesis);
  if (held !== undefined && held.checkpoint.origin !== walk.origin) {
    return usage(`--state: ${cosigning.state} is of ${held.checkpoint.origin}, the server is ${walk.origin}`);
  }
  if (answer === undefined) {
    return held === undefined
      ? usage("the server has no checkpoint")
      : refuseSetBack(cosigning, held, walk, connection);
  }
  const { checkpoint } = answer;
  await walk.verifyCheckpoint(checkpoint);
  if (held === undefined) return checkpoint;
  await walk.verifyGrowth(held.checkpoint, answer).catch((error: unknown) => {
    if (!(error instanceof ProofError)) throw error;
    return contradict(cosigning, held, checkpoint, error.message);
  });
  return checkpoint;
};

/** Signs and stores the note; durable before it is printed. @returns the note. */
const sign = async (
  { witness, key, state }: Cosigning,
  held: Held | undefined,
  checkpoint: string,
): Promise<string> => {
  const { text, signatures } = parseNote(checkpoint);
  const { origin } = parseCheckpoint(text);
  const { publicKey, sign: signWith } = createSigner(key.privateKey);
  const cosigner = { name: cosignerName(origin, witness), publicKey, sign: signWith };
  const seconds = BigInt(Math.floor(Date.now() / 1000));
  const own = await signCosignature(text, seconds, cosigner);
  const note = formatNote({ text, signatures: [...signatures, own] });
  if ((await readText(state)) !== held?.text) usage(`--state: ${state} was changed meanwhile; run it again`);
  await replaceFile(state, note);
  return note;
};

const cosign = async (cosigning: Cosigning, connection: SigilConnection): Promise<string> => {
  const held = await readHeld(cosigning);
  return sign(cosigning, held, await fetchGrown(cosigning, held, connection));
};

export const witnessCosign: Command = {
  name: "witness cosign",
  about:
    "Sign the newest checkpoint as a witness, after seeing that its tree begins with the one signed last. What was signed\n" +
    "is kept in --state and printed: a copy of it lets sigil restore refuse a backup that is older. A ledger that was set back\n" +
    "or rewritten is not signed, and what proves it is kept. Run it from a timer, on the witness's own machine.",
  flags: {
    key: { value: "FILE", about: "The witness's private key." },
    witness: { value: "NAME", about: "Its name in the registry, as sigil witness list shows it." },
    genesis: { value: "HASH", about: "The genesis record's hash, as sigil init printed it." },
    state: { value: "FILE", about: "The checkpoint signed last; made the first time. Keep it." },
    ...jsonFlag,
    ...serverFlags,
  },
  examples: [
    "sigil witness cosign --key alice.pem --witness alice --genesis 5be4f6a1… --state alice.checkpoint",
    "sigil restore --from /backup/sigil --data data --not-before alice.checkpoint",
  ],
  exits: [
    "0  signed and kept",
    "1  the ledger was set back or rewritten, or does not follow from genesis: not signed",
    "2  usage error, or no answer",
  ],
  run: (given, terminal) =>
    orRefusal(terminal, () =>
      orUnproven(terminal, async () => {
        const cosigning = {
          genesis: parseGenesisHash(required(given, "genesis", "HASH")),
          witness: required(given, "witness", "NAME"),
          state: required(given, "state", "FILE"),
          key: await readOwnKey(required(given, "key", "FILE"), terminal),
        };
        using connection = openConnection(await readServer(given, terminal), undefined);
        const note = await cosign(cosigning, connection);
        const { origin, size, root } = parseCheckpoint(parseNote(note).text);
        const facts = { origin, size: String(size), root: toHex(root), witness: cosigning.witness };
        terminal.print(
          given.has("json") ? JSON.stringify({ ...facts, checkpoint: note }) : note.replace(/\n$/, ""),
        );
        terminal.note(`Signed size ${size} of ${printable(origin)}, kept in ${cosigning.state}.`);
        return exitCodes.ok;
      }),
    ),
};

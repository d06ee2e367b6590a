/** Verifies keys and single records from the genesis record's hash, without trusting the server. */
import { ProofError, walkKeys, type SigilConnection, type VerifiedRecord } from "@sigil/client";
import { fromHex, parseHash, type Hash } from "@sigil/core/bytes";
import { exitCodes, usage, type Arguments, type ExitCode, type Flags } from "../terminal/command.ts";
import type { Terminal } from "../terminal/terminal.ts";

export const genesisFlag = {
  genesis: {
    value: "HASH",
    about: "Also verify it here, from the genesis record's hash that sigil init printed.",
  },
} as const satisfies Flags;

/** @throws usage. */
export const parseGenesisHash = (text: string): Hash => {
  try {
    return parseHash(fromHex(text));
  } catch {
    return usage(
      "--genesis must be the hash of the genesis record, 64 hexadecimal digits; sigil init prints it",
    );
  }
};

/** Undefined if the flag is absent. @throws usage. */
export const genesisOf = (given: Arguments): Hash | undefined => {
  const text = given.text("genesis");
  return text === undefined ? undefined : parseGenesisHash(text);
};

/**
 * Walks the keys, and verifies inclusion proof and signatures on this machine.
 * @throws ProofError, SigilError.
 */
export const verifyHere = async (
  connection: SigilConnection,
  genesis: Hash,
  { position, envelope }: { readonly position: bigint; readonly envelope: Uint8Array },
): Promise<VerifiedRecord> => {
  // The proof first, so that the keys read afterwards cover its checkpoint.
  const proof = await connection.audit.getInclusionProof({ position });
  const walk = await walkKeys(connection, genesis);
  return walk.verifyRecord({ position, envelope, ...proof });
};

/** Exits with 1, not 2, if verification from genesis fails. */
export const orUnproven = async (terminal: Terminal, run: () => Promise<ExitCode>): Promise<ExitCode> => {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ProofError)) throw error;
    terminal.progress("");
    terminal.note(`sigil: not proved: ${error.message}`);
    return exitCodes.no;
  }
};

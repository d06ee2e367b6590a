/**
 * What the command line believes because of the genesis record's hash, whatever the server says: keys, and single
 * records.
 */
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

/** Undefined where the flag was not given. @throws usage. */
export const genesisOf = (given: Arguments): Hash | undefined => {
  const text = given.text("genesis");
  return text === undefined ? undefined : parseGenesisHash(text);
};

/**
 * The keys walked, the place proved, the signatures verified on this machine.
 * @throws ProofError, SigilError.
 */
export const verifyHere = async (
  connection: SigilConnection,
  genesis: Hash,
  { position, envelope }: { readonly position: bigint; readonly envelope: Uint8Array },
): Promise<VerifiedRecord> => {
  // The proof first: the keys that are read after it cover its checkpoint.
  const proof = await connection.audit.getInclusionProof({ position });
  const walk = await walkKeys(connection, genesis);
  return walk.verifyRecord({ position, envelope, ...proof });
};

/** What does not follow from genesis is a finding, not a command that could not run. */
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

/** Exits with 1, not 2, if the server refuses or reports damage. */
import { SigilError } from "@sigil/client";
import { exitCodes, type ExitCode } from "../terminal/command.ts";
import { describeCallError } from "./connection.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

const refusals: ReadonlySet<string> = new Set([
  "PERMISSION_DENIED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "ALREADY_EXISTS",
  "DATA_LOSS",
]);

/** @throws other errors of the call. */
export const orRefusal = async (terminal: Terminal, run: () => Promise<ExitCode>): Promise<ExitCode> => {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof SigilError) || !refusals.has(error.codeName)) throw error;
    terminal.progress("");
    terminal.note(`sigil: ${describeCallError(error) ?? error.message}`);
    const decision = error.facts["audit_id"];
    if (decision !== undefined) terminal.note(`  see: sigil audit get ${printable(decision)}`);
    return exitCodes.no;
  }
};

/**
 * The `sigil` command line: reads the arguments, runs one command, exits with its code. Commands are in cli/, one file
 * a group; the service itself begins in server.ts.
 */
import { runCommandLine, settleHeap } from "./cli/command-line.ts";
import { processTerminal } from "./cli/terminal/terminal.ts";

// Set before anything is written, so that files are accessible only to their owner.
process.umask(0o077);

// EPIPE of a reader that has closed early (`sigil audit list | head`) is not a failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

// Unread notes and problems do not fail the command.
process.stderr.on("error", () => {});

settleHeap(process.argv.slice(2));

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal(process));

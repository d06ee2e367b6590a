/**
 * The `sigil` command line: reads the arguments, runs one command, exits with its code. Commands are in cli/, one file
 * a group; the service itself begins in server.ts.
 */
import { runCommandLine, walksLedger } from "./cli/command-line.ts";
import { keepHeapSmall } from "./cli/deployment/small-heap.ts";
import { processTerminal } from "./cli/terminal/terminal.ts";

// Before anything is written: what this program makes is for its owner alone.
process.umask(0o077);

// A reader that has seen enough (`sigil audit list | head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

// Notes and problems that nobody reads are no failure of what the command does.
process.stderr.on("error", () => {});

if (walksLedger(process.argv.slice(2))) keepHeapSmall();

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal(process));

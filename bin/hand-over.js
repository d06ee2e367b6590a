/**
 * One process standing for another: what is sent to it reaches the other, and it ends as the other ends. Runs on old
 * versions of Node, which cannot replace themselves by another program.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";

/** Not SIGUSR1: Node opens its inspector at it. */
const forwarded = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGWINCH"];

const endBy = (signal) => {
  for (const name of forwarded) process.removeAllListeners(name);
  process.kill(process.pid, signal);
  // Where that did not end it: as shells say it.
  process.exitCode = 128 + constants.signals[signal];
};

export const handOver = (node, program, words) => {
  const child = spawn(node, [program, ...words], {
    // The channel says nothing: its end tells the program that this process is gone, however it went.
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    // A group of its own: Ctrl-C reaches this process alone, and the program once, through it. Twice would mean: at once.
    detached: true,
  });
  for (const name of forwarded) process.on(name, () => child.kill(name));
  process.on("SIGTSTP", () => {
    child.kill("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  });
  process.on("SIGCONT", () => child.kill("SIGCONT"));
  child.on("error", (error) => {
    process.stderr.write(`sigil: ${node} cannot be started: ${error.message}\n`);
    process.exit(2);
  });
  child.on("exit", (code, signal) => {
    // Its exit is this one's, though a program that it left behind may hold the channel open.
    if (child.connected) child.disconnect();
    if (signal === null) process.exit(code);
    else endBy(signal);
  });
};

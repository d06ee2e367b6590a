/**
 * How a sandbox process is started: Node itself with everything taken away that can be. No environment, no files but
 * its own program, no processes, threads, add-ons or inspector; and, by the system, no core dumps, no file writes,
 * bounded CPU time and data.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { findPackageJSON } from "node:module";
import { setPriority } from "node:os";
import { dirname, extname, join } from "node:path";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";

export type LaunchOptions = {
  /** The most that any run may have, in pages of 64 KiB. */
  readonly memoryPagesMax: number;
  /** CPU seconds of the process's whole life. It ends an endless loop whose server has died. */
  readonly cpuSecondsMax: number;
  /** Another program in the place of ours, by path: what a process does that a module has turned. For tests. */
  readonly program?: string;
  /** Another shell, by path: for tests. */
  readonly shell?: string;
};

export type Launched = { readonly child: ChildProcess; readonly pipe: Socket };

/** What Node itself takes before any module, by the kernel's count of data: mostly room reserved for code. */
const nodeDataKiB = 1024 << 10;
const pageKiB = 64;
/** Room for a run's memory while that of the run before is not yet given back. */
const memoriesAtOnce = 2;
const descriptorsMax = 64;
/** Below the server, so that its answers do not wait for a module that computes. */
const niceness = 5;

/**
 * A limit that the system does not know, or that it holds lower already, is left as it is. What shells put into an
 * environment is taken out again. Then the shell becomes Node: same process.
 */
const script = `
limit() { if (ulimit "$1" "$2") 2>/dev/null; then ulimit "$1" "$2"; fi; }
limit -c 0; limit -f 0; limit -n ${descriptorsMax}; limit -t "$1"; limit -d "$2"
shift 2
unset PWD OLDPWD SHLVL _
exec "$@"`;

const systemShell = "/bin/sh";

/** What the system lacks to start a process, or null. Only a shell can set the limits: Node has no words for them. */
export const whyNoLaunch = (shell = systemShell): string | null => {
  try {
    accessSync(shell, constants.X_OK);
    return null;
  } catch {
    return `${shell} is missing, which bounds a sandbox process; install a shell in the image`;
  }
};

/** The program, with the ending its files have here: sources or the built package. */
const room = import.meta.dirname;
const ownProgram = join(room, "..", "guest", `main${extname(import.meta.filename)}`);

/** The package that the program shares with the server: where its files lie, and the link by which it is found. */
const coreFolders = (): readonly string[] => {
  const files = dirname(fileURLToPath(import.meta.resolve("@sigil/core/bytes")));
  const link = findPackageJSON("@sigil/core/bytes", import.meta.url);
  return link === undefined ? [files] : [files, dirname(link)];
};

/** What the program is read from: its own rooms, the two files that every part shares, and the core. */
const modules = dirname(room);
const sharedFiles = ["errors", "limits"].map((name) =>
  join(dirname(modules), `${name}${extname(import.meta.filename)}`),
);
const readable = [...[modules, ...coreFolders()].map((folder) => `${folder}/`), ...sharedFiles];

/** What Node is started with, before the program's path. */
const processFlags = ({ memoryPagesMax }: Pick<LaunchOptions, "memoryPagesMax">): readonly string[] => [
  "--permission",
  ...readable.map((path) => `--allow-fs-read=${path}`),
  "--no-addons",
  "--disable-sigusr1",
  "--disable-proto=delete",
  "--disallow-code-generation-from-strings",
  "--no-warnings",
  "--max-old-space-size=256",
  "--v8-pool-size=1",
  `--wasm-max-mem-pages=${memoryPagesMax}`,
];

export const launch = (options: LaunchOptions): Launched => {
  const dataKiB = nodeDataKiB + options.memoryPagesMax * pageKiB * memoriesAtOnce;
  const limits = [String(options.cpuSecondsMax), String(dataKiB)];
  const { program = ownProgram } = options;
  const granted = program === ownProgram ? [] : [`--allow-fs-read=${program}`];
  const command = [process.execPath, ...processFlags(options), ...granted, program];
  const child = spawn(options.shell ?? systemShell, ["-c", script, "sh", ...limits, ...command], {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    // A group of its own: Ctrl-C at the server's terminal lets it drain.
    detached: true,
  });
  try {
    if (child.pid !== undefined) setPriority(child.pid, niceness);
  } catch {
    // It has ended already; its end is told as an event.
  }
  return { child, pipe: child.stdio[3] as Socket };
};

/**
 * Starts a sandbox process: Node with minimal permissions. No environment, no files but its own program, no child
 * processes, threads, add-ons or inspector; and, by system limits, no core dumps, no file writes, bounded CPU time and
 * data.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { findPackageJSON } from "node:module";
import { setPriority } from "node:os";
import { dirname, extname, join } from "node:path";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { strippedProgram } from "./stripped-program.ts";

export type LaunchOptions = {
  /** Memory limit of any run, in pages of 64 KiB. */
  readonly memoryPagesMax: number;
  /** CPU seconds over the process's lifetime. Ends an endless loop if the server has died. */
  readonly cpuSecondsMax: number;
  /** Path of a replacement program, which simulates a compromised process. For tests. */
  readonly program?: string;
  /** Path of a replacement shell. For tests. */
  readonly shell?: string;
};

export type Launched = { readonly child: ChildProcess; readonly pipe: Socket };

/** Data segment size of Node without modules, as counted by the kernel: mostly reserved code space. */
const nodeDataKiB = 1024 << 10;
const pageKiB = 64;
/** Allows a run's memory while the previous run's is not yet released. */
const memoriesAtOnce = 2;
const descriptorsMax = 64;
/** Lower priority than the server, so that its replies do not wait for computing modules. */
const niceness = 5;

/**
 * Limits that are unsupported or already lower are left unchanged. Variables set by the shell are unset. Then the shell
 * execs Node.
 */
const script = `
limit() { if (ulimit "$1" "$2") 2>/dev/null; then ulimit "$1" "$2"; fi; }
limit -c 0; limit -f 0; limit -n ${descriptorsMax}; limit -t "$1"; limit -d "$2"
shift 2
unset PWD OLDPWD SHLVL _
exec "$@"`;

const systemShell = "/bin/sh";

/** Why no process can be started here, or null. A shell is needed to set the limits, since Node has no API for them. */
export const whyNoLaunch = (shell = systemShell): string | null => {
  try {
    accessSync(shell, constants.X_OK);
    return null;
  } catch {
    return `${shell} is missing, which bounds a sandbox process; install a shell in the image`;
  }
};

/** The program's path, and every path that its process may read. */
type Program = { readonly path: string; readonly readable: readonly string[] };

const room = import.meta.dirname;
const modules = dirname(room);
const ending = extname(import.meta.filename);

/**
 * Folders of the core package that the program shares with the server: its files, and the link that resolves to them.
 */
const coreFolders = (): readonly string[] => {
  const files = dirname(fileURLToPath(import.meta.resolve("@sigil/core/bytes")));
  const link = findPackageJSON("@sigil/core/bytes", import.meta.url);
  return link === undefined ? [files] : [files, dirname(link)];
};

/** Its own folders, the two shared files and the core; `.ts` in sources, `.js` in the built package. */
const programAsItIs = (): Program => ({
  path: join(modules, "guest", `main${ending}`),
  readable: [
    ...[modules, ...coreFolders()].map((folder) => `${folder}/`),
    ...["errors", "limits"].map((name) => join(dirname(modules), `${name}${ending}`)),
  ],
});

/** A built package runs its own files; a checkout runs them without their types, where it can be written to. */
const findProgram = (): Program => {
  const program = programAsItIs();
  const sources = dirname(modules);
  const stripped =
    ending === ".ts" ? strippedProgram(program.path, sources, join(sources, "../build/sandbox")) : null;
  return stripped === null ? program : { path: stripped.path, readable: [`${stripped.directory}/`] };
};

let ownProgram: Program | undefined;

/** Node flags, before the program's path. */
const processFlags = (readable: readonly string[], memoryPagesMax: number): readonly string[] => [
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
  ownProgram ??= findProgram();
  const { program = ownProgram.path } = options;
  const granted = program === ownProgram.path ? [] : [program];
  const flags = processFlags([...ownProgram.readable, ...granted], options.memoryPagesMax);
  const command = [process.execPath, ...flags, program];
  const child = spawn(options.shell ?? systemShell, ["-c", script, "sh", ...limits, ...command], {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    // Its own process group, so that Ctrl-C at the server's terminal does not kill it before the server drains.
    detached: true,
  });
  try {
    if (child.pid !== undefined) setPriority(child.pid, niceness);
  } catch {
    // It has already exited; the exit event reports it.
  }
  return { child, pipe: child.stdio[3] as Socket };
};

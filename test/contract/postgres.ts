/**
 * A real PostgreSQL of a test's own: data in a temporary directory, on a free port of 127.0.0.1. Root may not run one,
 * so root starts it as the user `postgres`.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Context } from "mocha";
import { freePort } from "./free-port.ts";

const run = promisify(execFile);

const versions = "/usr/lib/postgresql";
const directories = existsSync(versions)
  ? readdirSync(versions).map((version) => join(versions, version, "bin"))
  : [];
const programs = directories.findLast((directory) => existsSync(join(directory, "initdb")));

/** Why there is none here. */
export const postgresMissing: string | undefined =
  programs === undefined
    ? "skipped: PostgreSQL is not here: scripts/services.sh install postgres"
    : undefined;

/** For a hook: skips what follows where there is no PostgreSQL, and says why. */
export const skipWithoutPostgres = (context: Context): void => {
  if (postgresMissing === undefined) return;
  console.log(`      ${postgresMissing}`);
  context.skip();
};

const isRoot = process.getuid?.() === 0;

const asPostgres = (program: string, args: readonly string[]) => {
  const path = join(programs ?? "", program);
  return isRoot
    ? run("runuser", ["-u", "postgres", "--", path, ...args], { cwd: "/" })
    : run(path, [...args], { cwd: "/" });
};

export type Postgres = AsyncDisposable & {
  readonly port: number;
  readonly user: string;
  readonly address: (database?: string) => string;
  /** Everything it has logged. */
  readonly log: () => Promise<string>;
  readonly stop: () => Promise<void>;
  readonly start: () => Promise<void>;
};

/**
 * @param settings further lines of its configuration. @param hba lines of pg_hba.conf in place of "trust everybody".
 */
export const startPostgres = async ({
  settings = [],
  hba,
  files = {},
  store = tmpdir(),
}: {
  readonly settings?: readonly string[];
  /** Where its directory is made. */
  readonly store?: string;
  /** In its data directory, for its own eyes. */
  readonly files?: Readonly<Record<string, string>>;
  readonly hba?: readonly string[];
} = {}): Promise<Postgres> => {
  const directory = await mkdtemp(join(store, "sigil-postgres-"));
  if (isRoot) await run("chown", ["postgres", directory]);
  const data = join(directory, "data");
  const user = isRoot ? "postgres" : userInfo().username;
  await asPostgres("initdb", ["-D", data, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
  const port = await freePort();
  const lines = ["fsync = off", "log_statement = all", ...settings];
  const write = async (file: string, text: string): Promise<void> => {
    const script = 'printf "%s" "$1" >> "$2"';
    const words = ["-c", script, "sh", text, join(data, file)];
    await (isRoot ? run("runuser", ["-u", "postgres", "--", "sh", ...words]) : run("sh", words));
  };
  await write("postgresql.conf", `${lines.join("\n")}\n`);
  for (const [file, text] of Object.entries(files)) {
    await write(file, text);
    await run("chmod", ["600", join(data, file)]);
  }
  if (hba !== undefined) {
    await run("truncate", ["-s", "0", join(data, "pg_hba.conf")]);
    await write("pg_hba.conf", `${hba.join("\n")}\n`);
  }
  const logPath = join(directory, "log");
  const start = async (): Promise<void> => {
    const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${directory}`;
    await asPostgres("pg_ctl", ["-D", data, "-l", logPath, "-o", options, "-w", "-t", "30", "start"]);
  };
  const stop = async (): Promise<void> => {
    await asPostgres("pg_ctl", ["-D", data, "-m", "immediate", "-w", "-t", "30", "stop"]);
  };
  await start();
  return {
    port,
    user,
    address: (database = "postgres") => `postgres://${user}@127.0.0.1:${port}/${database}`,
    log: () => readFile(logPath, "utf8"),
    stop,
    start,
    [Symbol.asyncDispose]: async () => {
      await stop().catch(() => {});
      await rm(directory, { recursive: true, force: true });
    },
  };
};

/**
 * NATS itself for tests: the program that scripts/services.sh installs, on 127.0.0.1 with a store of its own in a
 * temporary directory. It can be killed, and started again at the same place with its data or without.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { repository } from "../../scripts/run.ts";

const built = join(repository, "build/bin/nats-server");
export const natsProgram = existsSync(built) ? built : "nats-server";
const isThere = existsSync(built) || spawnSync(natsProgram, ["--version"]).status === 0;

/** Why there is none here, for the title of a test. */
export const natsMissing: string | undefined = isThere
  ? undefined
  : "skipped: no NATS: scripts/services.sh install nats";

export type Nats = AsyncDisposable & {
  readonly url: string;
  /** Directory of its files. */
  readonly store: string;
  /** As by a power failure. */
  readonly kill: () => Promise<void>;
  /** Suspended: it takes connections and answers nothing. */
  readonly suspend: () => void;
  readonly wake: () => void;
  /** @param settings in place of those before. */
  readonly start: (settings?: string) => Promise<void>;
  /** Of a server that does not run: it never had any. */
  readonly removeData: () => Promise<void>;
};

export type NatsSettings = {
  /** More lines of its configuration. */
  readonly settings?: string;
  /** `always` is what a relay counts on; tests that kill no machine need not wait for disks. */
  readonly sync?: string;
  /** Directory of its files, where it is to be another than its own. */
  readonly store?: string;
  /** More of its configuration of JetStream. */
  readonly jetstream?: string;
};

const startMsMax = 20_000;

const portsIn = async (directory: string): Promise<number | undefined> => {
  const name = (await readdir(directory)).find((one) => one.endsWith(".ports"));
  if (name === undefined) return undefined;
  const { nats } = JSON.parse(await readFile(join(directory, name), "utf8")) as {
    readonly nats: readonly string[];
  };
  await rm(join(directory, name));
  return Number(nats[0]?.split(":").at(-1));
};

export const startNats = async (given: NatsSettings = {}): Promise<Nats> => {
  const { sync = "1s", jetstream = "" } = given;
  const directory = await mkdtemp(join(tmpdir(), "sigil-nats-"));
  const [configPath, store] = [join(directory, "nats.conf"), given.store ?? join(directory, "store")];
  let child: ChildProcess | undefined;
  let port = -1;
  let { settings = "" } = given;
  const start = async (next = settings): Promise<void> => {
    settings = next;
    const lines = [
      "host: 127.0.0.1",
      `port: ${port}`,
      `ports_file_dir: ${JSON.stringify(directory)}`,
      `jetstream {`,
      `store_dir: ${JSON.stringify(store)}`,
      `sync_interval: ${JSON.stringify(sync)}`,
      jetstream,
      `}`,
      settings,
    ];
    await writeFile(configPath, lines.join("\n"));
    let log = "";
    const started = spawn(natsProgram, ["-c", configPath], { stdio: ["ignore", "ignore", "pipe"] });
    child = started;
    started.stderr.on("data", (part: Buffer) => (log += part.toString()));
    for (let waitedMs = 0; waitedMs < startMsMax; waitedMs += 20) {
      if (started.exitCode !== null) throw new Error(`NATS ended:\n${log}`);
      if (log.includes("Server is ready")) {
        const found = await portsIn(directory);
        if (found !== undefined) {
          port = found;
          return;
        }
      }
      await delay(20);
    }
    throw new Error(`NATS does not start:\n${log}`);
  };
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    // The killed one left it.
    await portsIn(directory).catch(() => undefined);
  };
  await start();
  return {
    get url() {
      return `nats://127.0.0.1:${port}`;
    },
    store,
    kill,
    suspend: () => void child?.kill("SIGSTOP"),
    wake: () => void child?.kill("SIGCONT"),
    start,
    removeData: () => rm(store, { recursive: true }),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

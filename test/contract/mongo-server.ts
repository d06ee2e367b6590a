/**
 * FerretDB of a test's own, which speaks MongoDB's protocol: files in a temporary directory, on a free port of
 * 127.0.0.1. No transactions, no replica sets; what `$` and `.` in keys do is stricter than in MongoDB.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { repository } from "../../scripts/run.ts";
import { freePort } from "./free-port.ts";

const program = join(repository, "build/bin/ferretdb");

/** Why there is none here. */
export const mongoMissing: string | undefined = existsSync(program)
  ? undefined
  : "skipped: no FerretDB: scripts/services.sh install mongo";

export type Mongo = AsyncDisposable & {
  readonly port: number;
  readonly address: (database: string) => string;
  /** As by a power failure. */
  readonly kill: () => Promise<void>;
  /** Suspended: it takes connections and answers nothing. */
  readonly suspend: () => void;
  readonly wake: () => void;
  readonly start: () => Promise<void>;
};

export type MongoOptions = {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** The only one that is let in, by SCRAM; of the database admin. Without one everybody is, and nobody has a name. */
  readonly user?: { readonly name: string; readonly password: string };
  /** An empty directory for its files. */
  readonly store?: string;
};

const startMsMax = 20_000;

const takesConnections = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

export const startMongo = async ({ tls, user, store }: MongoOptions = {}): Promise<Mongo> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-mongo-"));
  const port = await freePort();
  const words = ["-data", store ?? directory, "-listen", `127.0.0.1:${port}`];
  if (tls !== undefined) {
    const [certPath, keyPath] = [join(directory, "tls.crt"), join(directory, "tls.key")];
    await writeFile(certPath, tls.cert);
    await writeFile(keyPath, tls.key, { mode: 0o600 });
    words.push("-tls-cert", certPath, "-tls-key", keyPath);
  }
  if (user !== undefined) words.push("-user", user.name);
  const env = { ...process.env, ...(user === undefined ? {} : { PASSWORD: user.password }) };
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = spawn(program, words, { stdio: "ignore", env });
    const endMs = performance.now() + startMsMax;
    while (!(await takesConnections(port))) {
      if (child.exitCode !== null || performance.now() > endMs) throw new Error("FerretDB did not start");
      await delay(20);
    }
  };
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  };
  await start();
  return {
    port,
    address: (database) => `mongodb://127.0.0.1:${port}/${database}`,
    kill,
    suspend: () => void child?.kill("SIGSTOP"),
    wake: () => void child?.kill("SIGCONT"),
    start,
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
};

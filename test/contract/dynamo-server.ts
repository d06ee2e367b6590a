/**
 * Moto of a test's own, which speaks DynamoDB's protocol: on a free port of 127.0.0.1, in memory, so what is killed has
 * lost everything. Laxer than DynamoDB: `startStrictProxy` has the limits that it lacks.
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

const python = join(repository, "build/moto/bin/python");
const program = join(repository, "test/contract/moto/server.py");

/** Why there is none here. */
export const dynamoMissing: string | undefined = existsSync(python)
  ? undefined
  : "skipped: no Moto: scripts/services.sh install dynamo";

export type DynamoServer = AsyncDisposable & {
  readonly port: number;
  readonly url: string;
  /** As by a power failure: what it held is gone. */
  readonly kill: () => Promise<void>;
  /** Suspended: it takes connections and answers nothing. */
  readonly suspend: () => void;
  readonly wake: () => void;
  readonly start: () => Promise<void>;
};

export type DynamoServerOptions = {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Whether it asks who somebody is. Nobody is known to it. */
  readonly asksForKeys?: boolean;
};

const startMsMax = 60_000;

const takesConnections = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

/** Moto takes every key; the chain of the SDK needs one. */
const setCredentials = (): void => {
  process.env["AWS_ACCESS_KEY_ID"] ??= "test";
  process.env["AWS_SECRET_ACCESS_KEY"] ??= "test";
};

export const startDynamo = async ({
  tls,
  asksForKeys = false,
}: DynamoServerOptions = {}): Promise<DynamoServer> => {
  setCredentials();
  const directory = await mkdtemp(join(tmpdir(), "sigil-dynamo-"));
  const port = await freePort();
  const words = [program, "-H", "127.0.0.1", "-p", String(port)];
  if (tls !== undefined) {
    const [certPath, keyPath] = [join(directory, "tls.crt"), join(directory, "tls.key")];
    await writeFile(certPath, tls.cert);
    await writeFile(keyPath, tls.key, { mode: 0o600 });
    words.push("--ssl-cert", certPath, "--ssl-key", keyPath);
  }
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = spawn(python, words, {
      stdio: "ignore",
      env: {
        ...process.env,
        PYTHONDONTWRITEBYTECODE: "1",
        ...(asksForKeys ? { INITIAL_NO_AUTH_ACTION_COUNT: "0" } : {}),
      },
    });
    const endMs = performance.now() + startMsMax;
    while (!(await takesConnections(port))) {
      if (child.exitCode !== null || performance.now() > endMs) throw new Error("Moto did not start");
      await delay(50);
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
    url: `http${tls === undefined ? "" : "s"}://127.0.0.1:${port}`,
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

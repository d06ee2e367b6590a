/**
 * Envoy itself for tests: the program that scripts/services.sh installs, with a configuration of its own in a temporary
 * directory.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository } from "../../scripts/run.ts";

const program = join(repository, "build/venv/bin/envoy");

/** Why there is none here, for the title of a test. */
export const envoyMissing: string | undefined = existsSync(program)
  ? undefined
  : "skipped: no Envoy: scripts/services.sh install envoy";

export type Envoy = AsyncDisposable & {
  /** Of its first listener. */
  readonly port: number;
  /** Its access log, a moment later. */
  readonly accesses: () => string;
};

const adminAt = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n";

const textFrom = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const asked = get(url, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += part.toString()));
      response.on("end", () => resolve(text));
    });
    asked.on("error", reject);
  });

type Listeners = {
  readonly listener_statuses?: readonly {
    readonly local_address: { readonly socket_address: { readonly port_value: number } };
  }[];
};

const stop = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
};

/** @param config YAML, whose listener takes port 0. */
export const startEnvoy = async (config: string): Promise<Envoy> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-envoy-"));
  const [configPath, adminPath] = [join(directory, "envoy.yaml"), join(directory, "admin")];
  await writeFile(configPath, adminAt + config);
  const words = ["-c", configPath, "--admin-address-path", adminPath, "--disable-hot-restart"];
  const child = spawn(program, [...words, "--concurrency", "1", "--file-flush-interval-msec", "20"], {
    stdio: "pipe",
  });
  let [log, accesses] = ["", ""];
  child.stdout.on("data", (part: Buffer) => (accesses += part.toString()));
  /** Its log goes to standard error; it listens when it says so. */
  const listening = new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (part: Buffer) => {
      log += part.toString();
      if (log.includes("starting workers")) resolve();
    });
    child.on("exit", () => reject(new Error(`Envoy ended:\n${log}`)));
    child.on("error", reject);
  });
  const dispose = async (): Promise<void> => {
    await stop(child);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await listening;
    const admin = readFileSync(adminPath, "utf8").trim();
    const listeners = JSON.parse(await textFrom(`http://${admin}/listeners?format=json`)) as Listeners;
    const port = listeners.listener_statuses?.[0]?.local_address.socket_address.port_value;
    if (port === undefined) throw new Error(`Envoy has no listener:\n${log}`);
    return { port, accesses: () => accesses, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
};

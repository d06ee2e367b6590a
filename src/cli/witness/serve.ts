/** `sigil witness serve`: a witness of logs, over HTTP. */
import { readFile } from "node:fs/promises";
import { formatVerifierKey, parsePolicy } from "@sigil/core/merkle";
import { isUnix, parseAddress, type TcpAddress } from "../../config/address.ts";
import { createSigner } from "../../crypto/signing/sign.ts";
import { SigilFault } from "../../errors.ts";
import { logFlushMs } from "../../limits.ts";
import { standardDestination } from "../../log/destination.ts";
import { createLog } from "../../log/log.ts";
import { openLevelStore } from "../../storage/level.ts";
import { closeOnSignal } from "../../wire/signals.ts";
import { serveWitness } from "../../witness/server.ts";
import { Witness, type KnownLog } from "../../witness/witness.ts";
import { exitCodes, required, usage, type Arguments, type Command } from "../terminal/command.ts";
import { readOwnKey } from "../terminal/own-key.ts";

/** What the format refuses in a flag's value is a usage error. */
const orUsage = <T>(flag: string, work: () => T): T => {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "malformedCheckpoint") throw error;
    return usage(`--${flag}: ${error.error.rule}`);
  }
};

const readLogs = async (path: string): Promise<readonly KnownLog[]> => {
  const bytes = await readFile(path).catch(() => usage(`--logs: ${path} cannot be read`));
  const { logs } = orUsage("logs", () => parsePolicy(bytes));
  if (logs.length === 0) usage(`--logs: ${path} names no log: a line is log VKEY`);
  return logs.map(({ name, publicKey }) => ({ origin: name, publicKey }));
};

const readAddress = (given: Arguments): TcpAddress => {
  const address = parseAddress(given.text("listen") ?? "127.0.0.1:50070");
  return address === undefined || isUnix(address) ? usage("--listen must be HOST:PORT") : address;
};

export const witnessServe: Command = {
  name: "witness serve",
  about:
    "Cosign checkpoints of logs over HTTP (C2SP tlog-witness), until SIGTERM or SIGINT: a log submits a checkpoint and the proof\n" +
    "that its tree begins with the one cosigned last, and a tree that contradicts it is never cosigned. The key is used for\n" +
    "nothing else: never one that is enrolled. POST /add-checkpoint; GET /SHA-256 of the origin in hex/checkpoint; GET /healthz.\n" +
    "Put a proxy with TLS before it where others reach it.",
  flags: {
    name: { value: "NAME", about: "Its name in signature lines, such as witness.example/w1." },
    key: { value: "FILE", about: "Its private key, of its own: sigil key new." },
    logs: {
      value: "FILE",
      about:
        "The logs it knows: a C2SP tlog-policy, of which the log lines count; sigil keys walk prints one.",
    },
    state: { value: "DIR", about: "What it cosigned last of each log; made the first time. Never lose it." },
    listen: { value: "ADDRESS", about: "HOST:PORT; 127.0.0.1:50070 unless told." },
  },
  examples: [
    "sigil witness serve --name witness.example/w1 --key w1.pem --logs logs.policy --state w1.state",
    "sigil key show w1.pem --vkey witness.example/w1",
  ],
  exits: ["0  stopped by a signal", "2  used wrongly, or could not start"],
  run: async (given, terminal) => {
    const name = required(given, "name", "NAME");
    const key = await readOwnKey(required(given, "key", "FILE"), terminal);
    const { publicKey } = key;
    const vkey = orUsage("name", () => formatVerifierKey({ name, use: "cosigner", publicKey }));
    const logs = await readLogs(required(given, "logs", "FILE"));
    const address = readAddress(given);
    const destination = standardDestination();
    const log = createLog({ level: "info", stream: destination });
    await using store = await openLevelStore(required(given, "state", "DIR"));
    const witness = new Witness({
      name,
      signer: createSigner(key.privateKey),
      logs,
      store,
      nowSeconds: () => BigInt(Math.floor(Date.now() / 1000)),
    });
    const server = await serveWitness({ witness, ...address, log }).catch((error: unknown) =>
      usage(`--listen: ${error instanceof Error ? error.message : String(error)}`),
    );
    log.info({ url: server.url, witness: vkey, logs: witness.origins }, "serving");
    await closeOnSignal({
      log,
      close: server.close,
      skipDelay: () => false,
      reload: async () => log.info("nothing to read again: restart for other logs"),
    });
    log.info("stopped");
    await destination.flush(logFlushMs);
    return exitCodes.ok;
  },
};

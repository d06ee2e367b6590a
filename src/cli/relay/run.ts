/**
 * `sigil relay run`: relays in a process of their own, which read a server's feed over gRPC and verify it. Relays are
 * configured as a server's are, by flags, variables or a file.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { createTokenSigner, ProofError, SigilError, walkKeys, type TokenSigner } from "@sigil/client";
import type { Hash } from "@sigil/core/bytes";
import type { Logger } from "pino";
import { readConfig, type Config } from "../../config/config.ts";
import { flagOf, KEYS, keyNames, type KeyName } from "../../config/keys.ts";
import { relayServerMsMax, relayServerMsMin } from "../../limits.ts";
import { failRelay, RelayFault } from "../../relay/destination.ts";
import { startRelayProcess } from "../../wire/relay-process.ts";
import { stateDirectory } from "../../wire/relays.ts";
import { closeOnSignal } from "../../wire/signals.ts";
import {
  connectionFlags,
  describeCallError,
  openConnection,
  readCaller,
  readServer,
  withoutClientVariables,
  type CallerSettings,
  type Server,
} from "../call/connection.ts";
import { parseGenesisHash } from "../call/from-genesis.ts";
import { exitCodes, required, usage, type Arguments, type Command, type Flags } from "../terminal/command.ts";
import { readOwnKey } from "../terminal/own-key.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { ProvenTree } from "./proven-tree.ts";
import { ServerLedger } from "./server-feed.ts";

/** Keys of a server's configuration that relays of their own have. */
const ownKeys = ["data", "relays", "operator_listen", "socket_mode", "log_level"] as const;

const configFlags: Flags = Object.fromEntries(
  ownKeys.map((name) => [flagOf(name).slice(2), { value: "VALUE", about: KEYS[name].what }]),
);

const isOwn = (name: KeyName): boolean => ownKeys.some((own) => own === name);

/** @throws invalidConfig, usage. */
const readRelayConfig = (given: Arguments, { environment }: Terminal): Config => {
  const argv = ["config", ...Object.keys(configFlags)].flatMap((flag) => {
    const value = given.text(flag);
    return value === undefined ? [] : [`--${flag}`, value];
  });
  const readText = (path: string): string => readFileSync(path, "utf8");
  const config = readConfig({ argv, environment: withoutClientVariables(environment), readText });
  const foreign = keyNames.find((name) => !isOwn(name) && config.sources[name].kind !== "default");
  if (foreign !== undefined)
    usage(`${foreign} is a key of a server: relays have ${ownKeys.join(", ")} alone`);
  if (config.sources.data.kind === "default") usage("--data DIR is needed: cursors and the socket are there");
  if (config.relays.length === 0) usage("there are no relays: give them in a file by --config, or --relays");
  return config;
};

/** A JWT. What is no token is not sent: it may be a key. */
const tokenShape = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Reads the file for each call, so that whoever renews the token only replaces it. */
const tokenFileSigner = (path: string): TokenSigner => ({
  token: async () => {
    const text = await readFile(path, "utf8").catch((cause: unknown) =>
      failRelay({ kind: "refused", rule: `cannot read the token in ${path}` }, { cause }),
    );
    const token = text.trim();
    return tokenShape.test(token)
      ? token
      : failRelay({ kind: "refused", rule: `there is no token in ${path}, and maybe something else` });
  },
});

type Caller =
  | { readonly kind: "key"; readonly settings: CallerSettings }
  | { readonly kind: "token"; readonly path: string }
  /** A client certificate. */
  | { readonly kind: "none" };

const callerOf = (given: Arguments, terminal: Terminal): Caller => {
  const settings = readCaller(given, terminal);
  const path = given.text("token-file");
  if (settings !== undefined && path !== undefined)
    usage("--token-file and --key with --principal exclude each other");
  if (settings !== undefined) return { kind: "key", settings };
  return path === undefined ? { kind: "none" } : { kind: "token", path };
};

/** A token is for an origin, which the genesis record proves, whoever answers. */
const provenOrigin = async (server: Server, genesis: Hash): Promise<string> => {
  const named = server.read("origin");
  if (named !== undefined) return named;
  using connection = openConnection(server, undefined);
  return (await walkKeys(connection, genesis)).origin;
};

const signerOf = async (
  server: Server,
  caller: Caller,
  genesis: Hash,
  terminal: Terminal,
): Promise<TokenSigner | undefined> => {
  switch (caller.kind) {
    case "none":
      return undefined;
    case "token":
      return tokenFileSigner(caller.path);
    case "key": {
      const { privateKey } = await readOwnKey(caller.settings.keyPath, terminal);
      const origin = await provenOrigin(server, genesis);
      return createTokenSigner({ principal: caller.settings.principal, origin, privateKey });
    }
  }
};

const unansweredCodes: ReadonlySet<string> = new Set([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
]);

/** Tries until the server answers. @throws what it refuses; its last error when `signal` aborts. */
const untilAnswered = async <Answer>(
  ask: () => Promise<Answer>,
  log: Logger,
  signal: AbortSignal,
): Promise<Answer> => {
  for (let pauseMs = relayServerMsMin; ; pauseMs = Math.min(2 * pauseMs, relayServerMsMax)) {
    try {
      return await ask();
    } catch (error) {
      const isWaitedFor = error instanceof SigilError && unansweredCodes.has(error.codeName);
      if (!isWaitedFor || signal.aborted) throw error;
      log.warn(
        { rule: describeCallError(error)?.split("\n")[0] },
        "the server does not answer: trying again",
      );
    }
    await pause(pauseMs, undefined, { signal }).catch(() => {});
  }
};

const openLedger = async (
  server: Server,
  caller: Caller,
  genesis: Hash,
  terminal: Terminal,
  { data, log, signal }: { readonly data: string; readonly log: Logger; readonly signal: AbortSignal },
): Promise<ServerLedger> =>
  untilAnswered(
    async () => {
      const connection = openConnection(server, await signerOf(server, caller, genesis, terminal));
      try {
        const proven = await ProvenTree.open(join(data, stateDirectory, "checkpoint.note"));
        return await ServerLedger.open(connection, genesis, proven);
      } catch (error) {
        connection.close();
        if (error instanceof ProofError || error instanceof RelayFault) usage(error.message);
        throw error;
      }
    },
    log,
    signal,
  );

export const relayRun: Command = {
  name: "relay run",
  about:
    "Run relays in a process of their own: they read a server's feed over gRPC, as a principal with a feed grant, verify every\n" +
    "record from the genesis hash and publish it, until SIGTERM or SIGINT; the batch under way is finished first. Relays are\n" +
    "configured as a server's are ([[relays]]); take them out of the server's own configuration. The other relay commands\n" +
    "reach them with the same --data. What a flag says about relays is also a variable (SIGIL_RELAYS) or a key of the file.",
  flags: {
    config: {
      value: "FILE",
      about: "A TOML file: data, [[relays]], operator_listen, socket_mode, log_level.",
    },
    ...configFlags,
    data: { value: "DIR", about: "A directory of its own, for cursors and the control socket." },
    "operator-listen": {
      value: "ADDRESS",
      about: "Where /metrics, /healthz and /readyz are served; nowhere unless told.",
    },
    genesis: { value: "HASH", about: "The genesis record's hash, as sigil init printed it." },
    "token-file": {
      value: "FILE",
      about: "A token to call with, instead of a key; read for each call, so that it can be replaced.",
    },
    ...connectionFlags,
  },
  examples: [
    "sigil relay run --config relays.toml --genesis 5be4f6a1… --server sigil.example:443 --key feed.pem --principal feed",
    "sigil relay run --config relays.toml --genesis 5be4f6a1… --token-file /run/sigil/token --operator-listen 127.0.0.1:50062",
    "sigil relay status --data /var/lib/sigil-relay",
  ],
  exits: ["0  stopped by a signal", "2  used wrongly, could not start, or the server refused the caller"],
  run: async (given, terminal) => {
    const config = readRelayConfig(given, terminal);
    const genesis = parseGenesisHash(required(given, "genesis", "HASH"));
    const [server, caller] = [await readServer(given, terminal), callerOf(given, terminal)];
    await using relays = await startRelayProcess({
      config,
      openLedger: (log, signal) =>
        openLedger(server, caller, genesis, terminal, { data: config.data, log, signal }),
    });
    const stopped = closeOnSignal(relays);
    await relays.started;
    await stopped;
    return exitCodes.ok;
  },
};

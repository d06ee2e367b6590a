/** A deployment with one principal a level and its witnesses, served on free ports from a temporary directory. */
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  connect,
  createTokenSigner,
  type ConnectOptions,
  type SigilConnection,
  type TokenSigner,
} from "@sigil/client";
import { makeConfig } from "../../src/config/config.ts";
import type { Values } from "../../src/config/keys.ts";
import { initDeployment } from "../../src/deployment/open.ts";
import { createKekFile } from "../../src/crypto/kek.ts";
import type { CborMap } from "../../src/core/cbor/cbor.ts";
import { parsePublicKey } from "../../src/core/bytes.ts";
import { startServer, type Overrides, type RunningServer } from "../../src/wire/server.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

export const origin = "sigil.test";
export const levels = ["observer", "operator", "mentor", "root"] as const;
export type EnrolledLevel = (typeof levels)[number];

export type Deployment = AsyncDisposable & {
  readonly directory: string;
  readonly privateKeys: Readonly<Record<EnrolledLevel, KeyObject>>;
  /** Of the witnesses, by id. */
  readonly witnessKeys: Readonly<Record<string, KeyObject>>;
  readonly signer: (level: EnrolledLevel) => TokenSigner;
  readonly serve: (options?: ServeOptions) => Promise<ServedDeployment>;
};

export type ServeOptions = { readonly config?: Partial<Values>; readonly overrides?: Overrides };

export type ServedDeployment = AsyncDisposable & {
  readonly server: RunningServer;
  /** A connection as a principal of a level, or as nobody. */
  readonly as: (level: EnrolledLevel | "guest", options?: Partial<ConnectOptions>) => SigilConnection;
  /** A connection as a principal by its id and key: a witness is `witness/<id>`. */
  readonly by: (principal: string, privateKey: KeyObject) => SigilConnection;
  /** Everything logged, one JSON object a line. */
  readonly logged: () => string;
};

const rawKey = (key: KeyObject): Uint8Array => {
  const { x } = key.export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
};

const pairs = new Map<string, KeyPairKeyObjectResult>();

/**
 * A name's keys are the same in every deployment of this process: it takes milliseconds to see that a new key is fit.
 */
const pairOf = (name: string): KeyPairKeyObjectResult => {
  const pair = pairs.get(name) ?? generateKeyPairSync("ed25519");
  pairs.set(name, pair);
  return pair;
};

const freePorts = {
  listen: { host: "127.0.0.1", port: 0 },
  operator_listen: { host: "127.0.0.1", port: 0 },
  log_level: "debug" as const,
  // Most servers here run no module: a process is started by the first run.
  module_processes_warm: 0,
};

/** Where tests share a busy machine, only those about deadlines should meet one. */
const callDeadlineMs = 60_000;

const serve = async (
  { directory, signer }: Pick<Deployment, "directory" | "signer">,
  { config = {}, overrides = {} }: ServeOptions,
): Promise<ServedDeployment> => {
  let log = "";
  const logStream = { write: (line: string): void => void (log += line) };
  const server = await startServer({
    config: makeConfig({ ...freePorts, data: directory, ...config }),
    overrides: { logStream, ...overrides },
  });
  const connections: SigilConnection[] = [];
  const open = (caller: TokenSigner | undefined, options: Partial<ConnectOptions> = {}): SigilConnection => {
    // One call is one call, so that a test sees what came of it, and no keys but its own.
    const defaults = { tls: "insecure", signer: caller, deadlineMs: callDeadlineMs, retry: "none" } as const;
    const connection = connect({ target: server.target, ...defaults, ...options });
    connections.push(connection);
    return connection;
  };
  return {
    server,
    logged: () => log,
    as: (level, options = {}) => open(level === "guest" ? undefined : signer(level), options),
    by: (principal, privateKey) => open(createTokenSigner({ principal, origin, privateKey })),
    [Symbol.asyncDispose]: async () => {
      for (const connection of connections) connection.close();
      await server.close();
    },
  };
};

export type DeploymentOptions = {
  /** The principals' tenant, but for Root's, which is "system". */
  readonly tenant?: string;
  readonly model?: CborMap;
  /** Ids; one, "alice", unless told. */
  readonly witnesses?: readonly string[];
  /** How many of them must approve; 1 unless told. */
  readonly k?: number;
  /** Tenants besides, with an operator each: `operator-<tenant>`, by the operator's key. */
  readonly otherTenants?: readonly string[];
  /** Principals besides, by keys of their own. */
  readonly also?: readonly AlsoEnrolled[];
};

export type AlsoEnrolled = {
  readonly id: string;
  readonly loa: EnrolledLevel;
  readonly tenant: string;
  readonly keys: readonly KeyObject[];
};

export const makeDeployment = async ({
  tenant = "acme",
  model = defaultModelPayload,
  witnesses = ["alice"],
  k = 1,
  otherTenants = [],
  also = [],
}: DeploymentOptions = {}): Promise<Deployment> => {
  // LevelDB makes its files as the umask says, and a start refuses files that others may read.
  process.umask(0o077);
  const parent = await mkdtemp(join(tmpdir(), "sigil-e2e-"));
  const directory = join(parent, "data");
  const principal = (index: 0 | 1 | 2 | 3) => {
    const level = levels[index];
    const { publicKey } = pairOf(level);
    return { id: level, publicKeys: [parsePublicKey(rawKey(publicKey))], loa: level, tenant, active: true };
  };
  await createKekFile(join(parent, "kek"));
  const witnessPairs = witnesses.map((id) => [id, pairOf(`witness/${id}`)] as const);
  const others = otherTenants.map((name) => ({ ...principal(1), id: `operator-${name}`, tenant: name }));
  const besides = also.map(({ keys, ...named }) => ({
    ...named,
    publicKeys: keys.map((key) => parsePublicKey(rawKey(createPublicKey(key)))),
    active: true,
  }));
  await initDeployment({
    directory,
    origin,
    root: { ...principal(3), tenant: "system" },
    principals: [principal(0), principal(1), principal(2), ...others, ...besides],
    witnesses: witnessPairs.map(([id, { publicKey }]) => ({
      id,
      publicKey: parsePublicKey(rawKey(publicKey)),
      owner: `the owner of ${id}`,
      authority: "",
      description: "",
    })),
    k,
    model,
    kekSource: { kind: "file", path: join(parent, "kek") },
    kekInputs: { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) },
    nowMs: Date.now,
  });
  const privateKeys = Object.fromEntries(
    levels.map((level) => [level, pairOf(level).privateKey]),
  ) as Deployment["privateKeys"];
  const signer = (level: EnrolledLevel): TokenSigner =>
    createTokenSigner({ principal: level, origin, privateKey: privateKeys[level] });
  return {
    directory,
    privateKeys,
    witnessKeys: Object.fromEntries(witnessPairs.map(([id, { privateKey }]) => [id, privateKey])),
    signer,
    serve: (options = {}) => serve({ directory, signer }, options),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
};

/** A deployment with one principal a level, served on free ports from a temporary directory. */
import { generateKeyPairSync, type KeyObject } from "node:crypto";
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
import { makeConfig } from "../../src/config.ts";
import type { Values } from "../../src/config/keys.ts";
import { initDeployment } from "../../src/deployment.ts";
import { createKekFile } from "../../src/keys/kek.ts";
import type { CborMap } from "../../src/record/cbor.ts";
import { parsePublicKey } from "../../src/record/bytes.ts";
import { startServer, type Overrides, type RunningServer } from "../../src/server.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";

export const origin = "sigil.test";
export const levels = ["observer", "operator", "mentor", "root"] as const;
export type EnrolledLevel = (typeof levels)[number];

export type Deployment = AsyncDisposable & {
  readonly directory: string;
  readonly privateKeys: Readonly<Record<EnrolledLevel, KeyObject>>;
  readonly signer: (level: EnrolledLevel) => TokenSigner;
  readonly serve: (options?: ServeOptions) => Promise<ServedDeployment>;
};

export type ServeOptions = { readonly config?: Partial<Values>; readonly overrides?: Overrides };

export type ServedDeployment = AsyncDisposable & {
  readonly server: RunningServer;
  /** A connection as a principal of a level, or as nobody. */
  readonly as: (level: EnrolledLevel | "guest", options?: Partial<ConnectOptions>) => SigilConnection;
  /** Everything logged, one JSON object a line. */
  readonly logged: () => string;
};

const rawKey = (key: KeyObject): Uint8Array => {
  const { x } = key.export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
};

const freePorts = {
  listen: { host: "127.0.0.1", port: 0 },
  operator_listen: { host: "127.0.0.1", port: 0 },
  log_level: "debug" as const,
};

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
  return {
    server,
    logged: () => log,
    as: (level, options = {}) => {
      const connection = connect({
        target: server.target,
        tls: "insecure",
        signer: level === "guest" ? undefined : signer(level),
        ...options,
      });
      connections.push(connection);
      return connection;
    },
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
};

export const makeDeployment = async ({
  tenant = "acme",
  model = defaultModelPayload,
}: DeploymentOptions = {}): Promise<Deployment> => {
  // LevelDB makes its files as the umask says, and a start refuses files that others may read.
  process.umask(0o077);
  const parent = await mkdtemp(join(tmpdir(), "sigil-e2e-"));
  const directory = join(parent, "data");
  const pairs = levels.map((level) => [level, generateKeyPairSync("ed25519")] as const);
  const principal = (index: number) => {
    const [level, { publicKey }] = pairs[index] as (typeof pairs)[number];
    return { id: level, publicKeys: [parsePublicKey(rawKey(publicKey))], loa: level, tenant, active: true };
  };
  await createKekFile(join(parent, "kek"));
  const witness = generateKeyPairSync("ed25519");
  await initDeployment({
    directory,
    origin,
    root: { ...principal(3), tenant: "system" },
    principals: [principal(0), principal(1), principal(2)],
    witnesses: [
      {
        id: "alice",
        publicKey: parsePublicKey(rawKey(witness.publicKey)),
        owner: "Alice",
        authority: "the first witness",
        description: "",
      },
    ],
    k: 1,
    model,
    kekSource: { kind: "file", path: join(parent, "kek") },
    kekInputs: { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) },
    nowMs: Date.now,
  });
  const privateKeys = Object.fromEntries(
    pairs.map(([level, { privateKey }]) => [level, privateKey]),
  ) as Deployment["privateKeys"];
  const signer = (level: EnrolledLevel): TokenSigner =>
    createTokenSigner({ principal: level, origin, privateKey: privateKeys[level] });
  return {
    directory,
    privateKeys,
    signer,
    serve: (options = {}) => serve({ directory, signer }, options),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
};

/** What the faults share: an honest server and its deployment, certificates, tokens and files, all of one folder. */
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTokenSigner, keyThumbprint, RecordProof, type CheckResponse } from "@sigil/client";
import { makeCertificate, type TestCertificate } from "../contract/certificates.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "../e2e/deployment.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { questions } from "./row.ts";

/** The caller of every row. */
export const principal = "operator";

export type World = AsyncDisposable & {
  readonly stack: AsyncDisposableStack;
  readonly folder: string;
  readonly deployment: Deployment;
  readonly honest: ServedDeployment;
  /** The caller's allow of the first question, an hour old, with its proof. */
  readonly old: CheckResponse;
  readonly genesis: string;
  readonly keyFile: string;
  readonly authority: TestCertificate;
  readonly caFile: string;
  /** Writes a file that only this user reads. @returns its path. */
  readonly keep: (name: string, content: string) => Promise<string>;
  /** Listens on a free port, or the path of a socket, until the end. */
  readonly listen: (server: Server, path?: string) => Promise<string>;
};

/** As ever, but that many decisions in a minute lower no score: rows would be denied for their number. */
const model = { ...defaultModelPayload, rate: { window_ms: 1000, limit: 1_000_000 } };

export const makeWorldDeployment = (): Promise<Deployment> => makeDeployment({ model });

export const genesisOf = async ({ directory }: Deployment): Promise<string> => {
  const text = await readFile(join(directory, "deployment.json"), "utf8");
  return (JSON.parse(text) as { readonly genesis: string }).genesis;
};

/** An honest allow of the first question, proved and signed like any other, by a clock that is an hour behind. */
export const recordOldAllow = async (deployment: Deployment): Promise<CheckResponse> => {
  const nowMs = (): number => Date.now() - 3_600_000;
  await using served = await deployment.serve({ overrides: { clock: { nowMs } } });
  const privateKey = deployment.privateKeys[principal];
  const signer = createTokenSigner({ principal, origin, privateKey, nowMs });
  const proof = RecordProof.RECORD_PROOF_INCLUSION;
  return await served.as(principal, { signer }).trust.check({ ...questions[0], proof });
};

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token by hand: good but for what is changed. */
export const mintToken = (
  privateKey: KeyObject,
  { claims = {}, header = {} }: { readonly claims?: object; readonly header?: object },
): string => {
  const now = Math.floor(Date.now() / 1000);
  const standard = { iss: principal, sub: principal, aud: origin, iat: now, exp: now + 600, jti: "one" };
  const head = { alg: "EdDSA", typ: "JWT", kid: keyThumbprint(privateKey), ...header };
  const input = `${part(head)}.${part({ ...standard, ...claims })}`;
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString("base64url")}`;
};

export const strangersKey = (): KeyObject => generateKeyPairSync("ed25519").privateKey;

export const makeWorld = async (): Promise<World> => {
  const stack = new AsyncDisposableStack();
  process.umask(0o077);
  const folder = await mkdtemp(join(tmpdir(), "sigil-faulty-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const keep = async (name: string, content: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, content, { mode: 0o600 });
    return path;
  };
  const listen = async (server: Server, path?: string): Promise<string> => {
    const sockets = new Set<{ destroy: () => unknown }>();
    server.on("connection", (socket) => {
      socket.on("error", () => {});
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
    stack.defer(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path === undefined ? { host: "127.0.0.1", port: 0 } : { path }, resolve);
    });
    return path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`;
  };
  const deployment = stack.use(await makeWorldDeployment());
  const old = await recordOldAllow(deployment);
  const honest = stack.use(await deployment.serve());
  const authority = await makeCertificate("faulty authority", "DNS:authority.test");
  const pem = deployment.privateKeys[principal].export({ type: "pkcs8", format: "pem" }).toString();
  return {
    stack,
    folder,
    deployment,
    honest,
    old,
    authority,
    keep,
    listen,
    genesis: await genesisOf(deployment),
    keyFile: await keep("operator.pem", pem),
    caFile: await keep("ca.pem", authority.cert),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
};

/** A port that nobody listens on: one that was free a moment ago. */
export const closedPort = async (): Promise<string> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
};

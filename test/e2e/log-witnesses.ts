/**
 * Witnesses of a log: in this process and in processes of their own, to be stopped, started, held up, and replaced by
 * one that lies.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { PublicKey } from "../../src/core/bytes.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import { formatVerifierKey, parseNote, signCosignature } from "../../src/core/merkle/index.ts";
import { createSigner } from "../../src/crypto/signing/sign.ts";
import { createMemoryBacking, openMemoryStore } from "../../src/storage/memory.ts";
import type { Store } from "../../src/storage/store.ts";
import { serveWitness, type WitnessServer } from "../../src/witness/server.ts";
import { Witness } from "../../src/witness/witness.ts";
import { repository } from "../../scripts/run.ts";
import type { ServedDeployment } from "./deployment.ts";

type Log = Pick<ServedDeployment["server"]["ledger"]["reader"], "origin" | "ring">;

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

export const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
};

const listen = async (server: Server, port: number): Promise<string> => {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const checkpointKeyOf = ({ ring }: Log): PublicKey => {
  const publicKey = newestKey(ring, "checkpoint")?.publicKey;
  if (publicKey === undefined) throw new Error("there is no checkpoint key");
  return publicKey;
};

/** The log's verifier key, for the `log` line of a policy. */
export const logKeyOf = (log: Log): string =>
  formatVerifierKey({ name: log.origin, use: "log", publicKey: checkpointKeyOf(log) });

/** A witness that can be stopped and started, and keeps what it signed. */
export class Place {
  readonly name: string;
  readonly signer = createSigner(generateKeyPairSync("ed25519").privateKey);
  readonly #backing = createMemoryBacking();
  #server: WitnessServer | undefined;
  #store: Store | undefined;
  #port = 0;
  url = "";

  constructor(name: string) {
    this.name = name;
  }

  get vkey(): string {
    return formatVerifierKey({ name: this.name, use: "cosigner", publicKey: this.signer.publicKey });
  }

  /** @param port the one of before, unless told. */
  async start(log: Log, port = this.#port): Promise<void> {
    const witness = new Witness({
      name: this.name,
      signer: this.signer,
      logs: [{ origin: log.origin, publicKey: checkpointKeyOf(log) }],
      store: (this.#store = await openMemoryStore(this.#backing)),
      nowSeconds: () => 1_700_000_000n,
    });
    this.#server = await serveWitness({ witness, host: "127.0.0.1", port, log: quiet });
    this.url = this.#server.url;
    this.#port = Number(new URL(this.url).port);
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    await this.#store?.close();
    [this.#server, this.#store] = [undefined, undefined];
  }
}

const bodyOf = async (request: IncomingMessage): Promise<string> =>
  Buffer.concat(await request.toArray()).toString();

/** Stands before a witness: counts what is submitted, and holds it up while it is shut. */
export class Gate {
  submitted = 0;
  /** So many are let through before it is shut. */
  #passes = 0;
  #open = Promise.resolve();
  #release = (): void => {};
  readonly #server: Server;
  url = "";

  constructor(place: Pick<Place, "url">) {
    const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const { method = "GET", url = "/" } = request;
      const body = await bodyOf(request);
      if (method === "POST") {
        this.submitted += 1;
        if (this.submitted > this.#passes) await this.#open;
      }
      const answer = await fetch(place.url + url, method === "POST" ? { method, body } : {});
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
      response.end(await answer.text());
    };
    this.#server = createServer((request, response) => {
      pass(request, response).catch(() => response.destroy());
    });
  }

  async start(): Promise<void> {
    this.url = await listen(this.#server, 0);
  }

  /** @param after so many more submissions. */
  shut(after = 0): void {
    this.#passes = this.submitted + after;
    const { promise, resolve } = Promise.withResolvers<void>();
    [this.#open, this.#release] = [promise, resolve];
  }

  release(): void {
    this.#release();
    this.#open = Promise.resolve();
  }

  async stop(): Promise<void> {
    this.release();
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}

export type Lie = (text: string) => Promise<string> | string;

/** Answers, with status 200, to a submitted checkpoint's text; none of them is by that witness over that text. */
export const liesOf = (
  { name, signer }: Pick<Place, "name" | "signer">,
  otherName: string,
): readonly Lie[] => {
  const strange = createSigner(generateKeyPairSync("ed25519").privateKey);
  const lineBy = async (text: string, by: string, { publicKey, sign }: Place["signer"]): Promise<string> => {
    const { keyId, signature } = await signCosignature(text, 1n, { name: by, publicKey, sign });
    return `\u2014 ${by} ${Buffer.concat([keyId, signature]).toString("base64")}\n`;
  };
  const anotherText = `other.example/log\n7\n${Buffer.alloc(32).toString("base64")}\n`;
  return [
    () => "",
    () => `\u2014 ${name} AAAA\n`,
    (text) => lineBy(text, name, strange),
    (text) => lineBy(text, otherName, signer),
    () => lineBy(anotherText, name, signer),
    (text) => lineBy(text.replace(/\n\d+\n/, "\n1\n"), name, signer),
    () => "x".repeat(1 << 20),
  ];
};

export type Liar = { readonly url: string; readonly close: () => Promise<void> };

/** A witness that knows no log, and answers each submission as it likes. */
export const startLiar = async (lie: Lie): Promise<Liar> => {
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const body = await bodyOf(request);
      response.writeHead(200, { "content-type": "text/plain" });
      response.end(await lie(parseNote(body.slice(body.indexOf("\n\n") + 2)).text));
    };
    if (request.method === "GET") response.writeHead(404).end();
    else void answer();
  });
  const url = await listen(server, 0);
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url, close };
};

export type WitnessProcess = { readonly child: ChildProcess; readonly url: string };

/** `sigil witness serve` with these flags. @throws Error when it ends instead. */
export const spawnWitness = async (flags: readonly string[], cwd: string): Promise<WitnessProcess> => {
  const main = join(repository, "src/main.ts");
  const words = ["--disable-warning=ExperimentalWarning", main, "witness", "serve", ...flags];
  const child = spawn(process.execPath, words, { cwd, stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg, url = "" } = JSON.parse(line) as { readonly msg: string; readonly url?: string };
    if (msg !== "serving") continue;
    // Whoever stops reading a pipe must not stop the witness.
    child.stdout.resume();
    return { child, url };
  }
  throw new Error("the witness ended");
};

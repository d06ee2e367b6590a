/**
 * A council whose ledger three witnesses cosign, of whom two are enough, served with `commit_policy = "cosigned"`:
 * witnesses stop, hang and lie, and the newest decision and the server's metrics are at hand.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SigilConnection } from "@sigil/client";
import type { Values } from "../../src/config/keys.ts";
import { unhurriedModel } from "./canon-writes.ts";
import { Council, newKey } from "./council.ts";
import { Gate, Place, startLiar, type Lie, type Liar } from "./log-witnesses.ts";

export type NamedWitness = Pick<Place, "vkey" | "url">;

/** Two of three, whoever they are. @param before lines of its own. */
export const policyOf = (witnesses: readonly NamedWitness[], ...before: readonly string[]): string => {
  const labels = witnesses.map((_, index) => `w${index + 1}`);
  const lines = witnesses.map(({ vkey, url }, index) => `witness ${labels[index]} ${vkey} ${url}`);
  return `${[...before, ...lines, `group enough 2 ${labels.join(" ")}`, "quorum enough"].join("\n")}\n`;
};

/** Under way for so long that it would have been answered, were it not held back. */
export const isPending = async (call: Promise<unknown>, forMs = 300): Promise<boolean> => {
  const pending = new Promise<true>((resolve) => setTimeout(() => resolve(true), forMs));
  return Promise.race([pending, call.then(() => false)]);
};

export const asked = { action: "read", target: "user/notes" } as const;
export const notCosigned = { codeName: "UNAVAILABLE", reason: "NOT_COSIGNED" };
/** Longer than a busy machine takes, and shorter than the deadline. */
export const patientMs = 9000;

export class CosignedWorld implements AsyncDisposable {
  readonly directory: string;
  readonly council: Council;
  readonly places = [1, 2, 3].map((number) => new Place(`witness.example/w${number}`));
  readonly #gates: Gate[] = [];
  readonly #liars: Liar[] = [];

  private constructor(directory: string, council: Council) {
    this.directory = directory;
    this.council = council;
  }

  /** Not served with the policy yet. Besides the usual, operators owen and olga, and observers fay and finn. */
  static async open(): Promise<CosignedWorld> {
    const enrolled = (id: string, loa: "operator" | "observer") =>
      ({ id, loa, tenant: "acme", keys: [newKey()] }) as const;
    const also = [
      ...["owen", "olga"].map((id) => enrolled(id, "operator")),
      ...["fay", "finn"].map((id) => enrolled(id, "observer")),
    ];
    const directory = await mkdtemp(join(tmpdir(), "sigil-commit-policy-"));
    const world = new CosignedWorld(directory, await Council.open({ model: unhurriedModel, also }));
    await world.start(0, 1, 2);
    await world.write(policyOf(world.places));
    return world;
  }

  get policyPath(): string {
    return join(this.directory, "policy");
  }

  get reader() {
    return this.council.served.server.ledger.reader;
  }

  get operator(): SigilConnection {
    return this.council.as("operator");
  }

  config(more: Partial<Values> = {}): Partial<Values> {
    return {
      witness_policy: this.policyPath,
      witness_interval_ms: 20,
      commit_policy: "cosigned",
      cosigned_timeout_ms: patientMs,
      ...more,
    };
  }

  serve(more: Partial<Values> = {}): Promise<void> {
    return this.council.restart({ config: this.config(more) });
  }

  write(policy: string): Promise<void> {
    return writeFile(this.policyPath, policy);
  }

  /** With another URL for one of the places. */
  writeWith(index: number, { url }: { readonly url: string }): Promise<void> {
    return this.write(
      policyOf(this.places.map(({ vkey, url: own }, each) => ({ vkey, url: each === index ? url : own }))),
    );
  }

  async start(...indexes: readonly number[]): Promise<void> {
    for (const index of indexes) await this.places[index]?.start(this.reader);
  }

  async stop(...indexes: readonly number[]): Promise<void> {
    for (const index of indexes) await this.places[index]?.stop();
  }

  /** From now on the place is reached through it, once the server is started. */
  async gate(index: number): Promise<Gate> {
    const gate = new Gate(this.places[index] ?? { url: "" });
    this.#gates.push(gate);
    await gate.start();
    await this.writeWith(index, gate);
    return gate;
  }

  /** Stands in a place's stead, once the server is started. */
  async liar(index: number, lie: Lie): Promise<Liar> {
    const liar = await startLiar(lie);
    this.#liars.push(liar);
    await this.writeWith(index, liar);
    return liar;
  }

  check(idempotencyKey = "") {
    return this.operator.trust.check({ ...asked, idempotencyKey });
  }

  async cosignedSize(): Promise<bigint> {
    return (await this.council.as("guest").audit.getCheckpoint({ cosigned: true })).size;
  }

  /** The newest decision, as anybody reads it who may. */
  async newest() {
    const { chains } = await this.council.as("observer").audit.listFrozenChains({ pageSize: 1 });
    const [chain] = chains;
    if (chain === undefined) throw new Error("nothing is recorded");
    return chain;
  }

  async operatorPort(path: string): Promise<string> {
    return (await fetch(`${this.council.served.server.operatorUrl}${path}`)).text();
  }

  async metric(name: string): Promise<number> {
    const lines = (await this.operatorPort("/metrics")).split("\n");
    return Number(lines.find((each) => each.startsWith(`${name} `))?.slice(name.length));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.council[Symbol.asyncDispose]();
    await this.stop(0, 1, 2);
    for (const gate of this.#gates) await gate.stop();
    for (const liar of this.#liars) await liar.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

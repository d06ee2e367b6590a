/**
 * A served deployment whose witnesses are at hand: a mentor proposes, they attest with their own keys, and it restarts.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import type {
  AttestProposalResponse,
  CanonClient,
  Proposal,
  SigilConnection,
  WitnessClient,
} from "@sigil/client";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import {
  makeDeployment,
  type Deployment,
  type DeploymentOptions,
  type EnrolledLevel,
  type ServedDeployment,
  type ServeOptions,
} from "./deployment.ts";
import { attest, type Signing } from "./witness.ts";

type Asked = Parameters<CanonClient["proposeRecord"]>[0];
export type Change = NonNullable<Parameters<WitnessClient["proposeWitnessChange"]>[0]["change"]>;
type ChangeAsked = Omit<Parameters<WitnessClient["proposeWitnessChange"]>[0], "change">;

export const newKey = (): KeyObject => generateKeyPairSync("ed25519").privateKey;

export const rawKey = (privateKey: KeyObject): Uint8Array => {
  const { x } = createPublicKey(privateKey).export({ format: "jwk" });
  return Buffer.from(x ?? "", "base64url");
};

export const json = (value: unknown) => ({ $case: "payloadJson", value: JSON.stringify(value) }) as const;
export const tombstone = { $case: "tombstone", value: true } as const;

/** The default model with changes. */
export const modelWith = (changes: Readonly<Record<string, unknown>>) =>
  json({ ...defaultModelPayload, ...changes });

export class Council implements AsyncDisposable {
  readonly deployment: Deployment;
  /** Of the witnesses, by id; tests add those that they enrol. */
  readonly keys: Map<string, KeyObject>;
  #served: ServedDeployment;
  #proposed = 0;
  readonly #connections = new Map<string, SigilConnection>();

  private constructor(deployment: Deployment, served: ServedDeployment) {
    this.deployment = deployment;
    this.keys = new Map(Object.entries(deployment.witnessKeys));
    this.#served = served;
  }

  /** Three witnesses of whom two must approve, unless told. */
  static async open(
    options: DeploymentOptions = {},
    serve: ServeOptions | ((directory: string) => ServeOptions) = {},
  ): Promise<Council> {
    const deployment = await makeDeployment({ witnesses: ["ann", "ben", "cyd"], k: 2, ...options });
    const served = await deployment.serve(typeof serve === "function" ? serve(deployment.directory) : serve);
    return new Council(deployment, served);
  }

  get served(): ServedDeployment {
    return this.#served;
  }

  /** Ends the server and starts another on the same data directory. */
  async restart(serve: ServeOptions = {}): Promise<void> {
    await this.#served[Symbol.asyncDispose]();
    this.#connections.clear();
    this.#served = await this.deployment.serve(serve);
  }

  as(level: EnrolledLevel | "guest"): SigilConnection {
    const known = this.#connections.get(level) ?? this.#served.as(level);
    this.#connections.set(level, known);
    return known;
  }

  key(witness: string): KeyObject {
    const key = this.keys.get(witness);
    if (key === undefined) throw new Error(`there is no witness ${witness}`);
    return key;
  }

  async propose(asked: Asked, by: SigilConnection = this.as("mentor")): Promise<Proposal> {
    const { proposal } = await by.canon.proposeRecord(asked);
    if (proposal === undefined) throw new Error("the answer has no proposal");
    return proposal;
  }

  /** A proposal about a record that nobody else proposes about. */
  proposeAny(asked: Asked = {}, by: SigilConnection = this.as("mentor")): Promise<Proposal> {
    this.#proposed += 1;
    const kind = `any-${this.#proposed}`;
    return this.propose({ id: `schema/${kind}`, content: json({ kind, schema: {} }), ...asked }, by);
  }

  async proposeChange(change: Change, asked: ChangeAsked = {}): Promise<Proposal> {
    const { proposal } = await this.as("mentor").witness.proposeWitnessChange({ ...asked, change });
    if (proposal === undefined) throw new Error("the answer has no proposal");
    return proposal;
  }

  /** The proposal as it stands now. */
  async now({ id }: Pick<Proposal, "id">): Promise<Proposal> {
    const { proposal } = await this.as("observer").canon.getProposal({ id });
    if (proposal === undefined) throw new Error("the answer has no proposal");
    return proposal;
  }

  /** A statement by a witness, or by whoever holds the key, is sent as anybody may. */
  attest(proposal: Proposal, by: string | KeyObject, changes: Signing = {}): Promise<AttestProposalResponse> {
    const statement = attest(proposal, typeof by === "string" ? this.key(by) : by, changes);
    return this.send(proposal, statement);
  }

  send({ id }: Pick<Proposal, "id">, statement: Uint8Array): Promise<AttestProposalResponse> {
    return this.as("guest").canon.attestProposal({ id, statement });
  }

  /** One after the other. @returns the proposal after the last. */
  async approve(proposal: Proposal, ...by: readonly (string | KeyObject)[]): Promise<Proposal> {
    let last = proposal;
    for (const each of by) last = (await this.attest(last, each)).proposal ?? last;
    return last;
  }

  commit({ id }: Pick<Proposal, "id">, by: SigilConnection = this.as("mentor")) {
    return by.canon.commitProposal({ id });
  }

  /** Enrols a witness with a new key, by approvals of `by` and the key's own statement. */
  async enrol(id: string, ...by: readonly string[]): Promise<Proposal> {
    const key = newKey();
    this.keys.set(id, key);
    const value = { id, publicKey: rawKey(key), owner: `the owner of ${id}` };
    return this.approve(await this.proposeChange({ $case: "add", value }), key, ...by);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#served[Symbol.asyncDispose]();
    await this.deployment[Symbol.asyncDispose]();
  }
}

/**
 * A council in which somebody is to be stopped: several Roots and Mentors, some with two keys, and what became of them.
 */
import type { KeyObject } from "node:crypto";
import { keyThumbprint, type Principal, type SigilConnection } from "@sigil/client";
import type { DeploymentOptions } from "./deployment.ts";
import { Council, newKey, tombstone } from "./council.ts";

export const thumbprintOf = (key: KeyObject): Uint8Array => Buffer.from(keyThumbprint(key), "base64url");
export const hexOf = (key: KeyObject): string => Buffer.from(thumbprintOf(key)).toString("hex");

export type People = Readonly<
  Record<
    string,
    {
      readonly level: "root" | "mentor" | "operator";
      readonly tenant: string;
      readonly keys: readonly KeyObject[];
    }
  >
>;

/** Two keys each but for the operators. */
export const people = (): People => ({
  eve: { level: "root", tenant: "system", keys: [newKey(), newKey()] },
  hal: { level: "root", tenant: "system", keys: [newKey(), newKey()] },
  may: { level: "mentor", tenant: "acme", keys: [newKey(), newKey()] },
  owen: { level: "operator", tenant: "acme", keys: [newKey()] },
  olga: { level: "operator", tenant: "beta", keys: [newKey()] },
});

export class SuspendedWorld implements AsyncDisposable {
  readonly council: Council;
  readonly people: People;

  private constructor(council: Council, enrolled: People) {
    this.council = council;
    this.people = enrolled;
  }

  static async open(
    options: DeploymentOptions = {},
    enrolled: People = people(),
    serve: Parameters<typeof Council.open>[1] = {},
  ): Promise<SuspendedWorld> {
    const also = Object.entries(enrolled).map(([id, { level: loa, tenant, keys }]) => ({
      id,
      loa,
      tenant,
      keys,
    }));
    return new SuspendedWorld(await Council.open({ also, ...options }, serve), enrolled);
  }

  key(id: string, at = 0): KeyObject {
    const key = this.people[id]?.keys[at];
    if (key === undefined) throw new Error(`${id} has no such key`);
    return key;
  }

  /** As one of them by one of its keys. */
  by(id: string, at = 0): SigilConnection {
    return this.council.served.by(id, this.key(id, at));
  }

  suspend(by: SigilConnection, principal: string, key?: KeyObject) {
    const named = key === undefined ? {} : { keyThumbprint: thumbprintOf(key) };
    return by.principals.suspendPrincipal({ principal, reason: "the laptop was stolen", ...named });
  }

  async show(principal: string, by: SigilConnection = this.council.as("root")): Promise<Principal> {
    const { principal: shown } = await by.principals.getPrincipal({ principal });
    if (shown === undefined) throw new Error("the answer has no principal");
    return shown;
  }

  /** Proposed and approved by two witnesses. */
  async lift(recordId: string, by?: SigilConnection): Promise<void> {
    await this.council.approve(
      await this.council.propose({ id: recordId, content: tombstone }, by),
      "ann",
      "ben",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.council[Symbol.asyncDispose]();
  }
}

/** Whether somebody is let in at all: any principal may ask this. */
export const asks = (connection: SigilConnection) =>
  connection.trust.check({ action: "read", target: "public/docs" });

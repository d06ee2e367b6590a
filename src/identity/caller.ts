/** Who is calling, as proof established it. Pure. */
import type { Level } from "./levels.ts";

export type Caller = {
  /** The principal's id; empty for an anonymous Guest. */
  readonly principal: string;
  readonly tenant: string;
  readonly level: Level;
  readonly credential: "none" | "token" | "certificate";
};

const publicTenant = "public";

/** A caller without credentials. */
export const anonymous: Caller = { principal: "", tenant: publicTenant, level: "guest", credential: "none" };

/** Root of tenant "system" alone reads across tenants. */
export const readsAcross = (caller: Caller): boolean => caller.level === "root" && caller.tenant === "system";

/**
 * Reads enrolled principals: one, or pages of them with their current state. First those of the system space, then
 * those that tenants enrolled themselves. A page ends at its size, at the reply limit, or at the limit of records
 * opened by one call.
 */
import { principalPrefix, systemTenant, type Space, isAtLeast, type Level } from "@sigil/core/record";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import { listOpenedRecordsMax } from "../../limits.ts";
import { readsAcross, tenantFor, type Caller } from "../caller.ts";
import type { EnrolledPrincipal, Principals } from "../principals.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import type { PagePlace } from "../../ledger/layout/page-token.ts";
import {
  PageRoom,
  PageTokens,
  pageSizeOf,
  takePage,
  type PageQuery,
  type Walked,
} from "../../ledger/layout/paging.ts";

export type PrincipalQuery = PageQuery & {
  /** Empty for the caller's own, or for Root of tenant system every tenant. */
  readonly tenant: string;
  /** Undefined for any. */
  readonly level: Level | undefined;
  readonly suspendedOnly: boolean;
};

export type PrincipalPage = {
  readonly principals: readonly EnrolledPrincipal[];
  readonly nextPageToken: string;
};

export type DirectoryDependencies = {
  readonly ledger: Pick<LedgerReader, "heads" | "readAt" | "dataKeys" | "authenticate">;
  readonly principals: Principals;
};

/** Root of tenant system sees every principal, Mentors and Roots those of their own tenant, everyone itself. */
export const isInSight = (caller: Caller, { id, principal }: EnrolledPrincipal): boolean => {
  if (id === caller.principal || readsAcross(caller)) return true;
  return isAtLeast(caller.level, "mentor") && principal.tenant === caller.tenant;
};

/** Position of a walk over ids; tenants' own principals come after the system space. */
type Place = { readonly space: Space; readonly tenant: string };

const governed: Place = { space: "system", tenant: systemTenant };

/** Sorts after every version of a data key. */
const lastVersion = 2 ** 32 - 1;

const matches = (
  { level, suspendedOnly }: PrincipalQuery,
  tenant: string,
  { principal }: EnrolledPrincipal,
): boolean => {
  if (tenant !== "" && principal.tenant !== tenant) return false;
  if (level !== undefined && principal.loa !== level) return false;
  return !suspendedOnly || principal.suspension !== undefined || principal.suspendedKeys !== undefined;
};

/** A principal of a page, with the size of its record in bytes. */
type Found = { readonly enrolled: EnrolledPrincipal; readonly envelopeBytes: number };

export class Directory {
  readonly #deps: DirectoryDependencies;

  constructor(deps: DirectoryDependencies) {
    this.#deps = deps;
  }

  /** @param id empty for the caller's own. @throws notFound, levelTooLow, invalidField, recordCorrupt. */
  async get(caller: Caller, id: string): Promise<EnrolledPrincipal> {
    const asked = id === "" ? caller.principal : id;
    if (asked === "") {
      invalidField("principal", "must be given: the caller is anonymous");
    }
    if (asked !== caller.principal && !isAtLeast(caller.level, "mentor")) {
      const rpc = "looking at another principal";
      fail({ kind: "levelTooLow", rpc, needed: "mentor", actual: caller.level });
    }
    const found = await this.#deps.principals.read(asked);
    if (found !== undefined && isInSight(caller, found)) return found;
    return fail({ kind: "notFound", what: "principal", id: asked });
  }

  /** @throws tenantForbidden, invalidPageToken, recordCorrupt, cancelled. */
  async list(caller: Caller, query: PrincipalQuery, signal: AbortSignal): Promise<PrincipalPage> {
    const tenant = query.tenant === "" && readsAcross(caller) ? "" : tenantFor(caller, query.tenant);
    if (!isAtLeast(caller.level, "mentor")) return this.#onlyItself(caller, tenant, query);
    const walk = [caller.principal, "principals", tenant, query.level ?? "", query.suspendedOnly];
    const tokens = new PageTokens(this.#deps.ledger, systemTenant, walk);
    const start = await tokens.read(query.pageToken);
    const room = new PageRoom<Found>(pageSizeOf(query.pageSize), ({ envelopeBytes }) => envelopeBytes);
    const page = await takePage(this.#walk(tenant, query, start ?? [], room, signal), room);
    return {
      principals: page.items.map(({ enrolled }) => enrolled),
      nextPageToken: await tokens.write(page.next),
    };
  }

  /**
   * Yields matches until the call's limit of records opened. @param start from an authenticated token, so its shape is
   * certain.
   */
  async *#walk(
    tenant: string,
    query: PrincipalQuery,
    start: PagePlace,
    room: PageRoom<Found>,
    signal: AbortSignal,
  ): AsyncGenerator<Walked<Found>, void, undefined> {
    const [space, owner, first] = start as readonly string[];
    const from: Place = space === "user" && owner !== undefined ? { space, tenant: owner } : governed;
    let opened = 0;
    for await (const place of this.#places(tenant, from)) {
      const isFirst = place.space === from.space && place.tenant === from.tenant;
      for await (const record of this.#records(place, isFirst ? first : undefined)) {
        if (signal.aborted) fail({ kind: "cancelled" });
        const at = [place.space, place.tenant, record.body.id];
        if (opened === listOpenedRecordsMax || room.left === 0) {
          yield { kind: "pause", at };
          return;
        }
        opened += 1;
        const enrolled = await this.#deps.principals.inRecord(record);
        if (enrolled === undefined || !matches(query, tenant, enrolled)) continue;
        yield { kind: "match", item: { enrolled, envelopeBytes: record.envelope.length }, at };
      }
    }
  }

  async #onlyItself(caller: Caller, tenant: string, query: PrincipalQuery): Promise<PrincipalPage> {
    if (query.pageToken !== "") {
      fail({ kind: "invalidPageToken", rule: "must be empty: there is one page" });
    }
    const itself = caller.principal === "" ? undefined : await this.#deps.principals.read(caller.principal);
    const isListed = itself !== undefined && matches(query, tenant, itself);
    return { principals: isListed ? [itself] : [], nextPageToken: "" };
  }

  /** Places from `from` on. */
  async *#places(tenant: string, from: Place): AsyncGenerator<Place, void, undefined> {
    if (from.space === "system") yield governed;
    if (tenant !== "") {
      yield { space: "user", tenant };
      return;
    }
    if (from.space === "user") yield from;
    // Every tenant with a record has a data key.
    let after = from.space === "user" ? { tenant: from.tenant, version: lastVersion } : undefined;
    for (;;) {
      const [key] = await this.#deps.ledger.dataKeys({ limit: 1, ...(after === undefined ? {} : { after }) });
      if (key === undefined) return;
      yield { space: "user", tenant: key.tenant };
      after = { tenant: key.tenant, version: lastVersion };
    }
  }

  async *#records({ space, tenant }: Place, from: string | undefined) {
    const { ledger } = this.#deps;
    try {
      const heads = ledger.heads(tenant, space, principalPrefix, from === undefined ? {} : { from });
      for await (const { position } of heads) yield await ledger.readAt(position, tenant);
    } catch (error) {
      // An erased tenant has no principals.
      if (!(error instanceof SigilFault && error.error.kind === "erased")) throw error;
    }
  }
}

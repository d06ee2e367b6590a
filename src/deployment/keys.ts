/**
 * Key management of a running deployment: signing keys are listed, rotated and retired, tenants' data keys listed and
 * rotated. Needs Root of tenant system but no trust decision: a model that denies everything must not keep a stolen key
 * in use. Key records are readable by any caller.
 */
import type { KeyRecord } from "@sigil/core/verify";
import { toBase64Url, type Thumbprint } from "@sigil/core/bytes";
import { fail } from "../errors.ts";
import { keyRoles, systemTenant } from "@sigil/core/record";
import { readsAcross, type Caller } from "../identity/caller.ts";
import { keyState, type KeyEntry, type KeyRole, type KeyState } from "@sigil/core/keys";
import type { LivingDataKey } from "../ledger/sealing/data-key-life.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { LedgerReader } from "../ledger/read/reading.ts";
import type { PagePlace } from "../ledger/layout/page-token.ts";
import {
  PageRoom,
  PageTokens,
  pageSizeOf,
  takeFew,
  takePage,
  type PageQuery,
  type Walked,
} from "../ledger/layout/paging.ts";

export type { DataKeyState, LivingDataKey } from "../ledger/sealing/data-key-life.ts";
export type { KeyRole, KeyState } from "@sigil/core/keys";

/** A key of the ring with its state. */
export type LivingKey = KeyEntry & { readonly state: KeyState };

export type KeyChange =
  | {
      readonly kind: "rotated" | "retired";
      readonly role: KeyRole;
      /** Thumbprint of the new or retired key, in base64url. */
      readonly thumbprint: string;
      readonly principal: string;
    }
  | {
      readonly kind: "rotated";
      readonly role: "data";
      readonly tenant: string;
      readonly version: number;
      readonly principal: string;
    };

/** Page size 0 returns all keys, which are few. */
export type KeyQuery = PageQuery;

export type DataKeyQuery = PageQuery & {
  /** Empty for every tenant. */
  readonly tenant: string;
};

export type KeyPage = { readonly keys: readonly LivingKey[]; readonly nextPageToken: string };

export type KeyRecordPage = { readonly records: readonly KeyRecord[]; readonly nextPageToken: string };

export type DataKeyPage = {
  /** Ordered by tenant, then version. */
  readonly dataKeys: readonly LivingDataKey[];
  readonly nextPageToken: string;
};

export type KeyServiceDeps = {
  readonly ledger: Pick<Ledger, "rotateKey" | "retireKey" | "rotateDataKey"> & {
    readonly reader: Pick<LedgerReader, "ring" | "keyRecords" | "dataKeys" | "authenticate">;
  };
  /** For log and metrics. */
  readonly onChange: (change: KeyChange) => void;
};

export type KeyService = {
  /** By role, oldest first. @throws tenantForbidden, invalidPageToken. */
  readonly list: (caller: Caller, query: KeyQuery) => Promise<KeyPage>;
  /** @throws tenantForbidden, notFound, keyReplaced, keyUnavailable, notServing, indeterminate. */
  readonly rotate: (caller: Caller, role: KeyRole, expected: Thumbprint | undefined) => Promise<LivingKey>;
  /** @throws tenantForbidden, notFound, sizeOutOfRange, malformedKey, notServing, indeterminate. */
  readonly retire: (caller: Caller, thumbprint: Thumbprint, from: bigint | undefined) => Promise<LivingKey>;
  /**
   * Genesis first, in ledger order. Every record is verified once; pages are then taken of the result.
   * @throws ledgerCorrupt, recordCorrupt; a page invalidPageToken.
   */
  readonly records: (caller: Caller) => Promise<(query: KeyQuery) => Promise<KeyRecordPage>>;
  /** @throws tenantForbidden, invalidPageToken. */
  readonly listData: (caller: Caller, query: DataKeyQuery) => Promise<DataKeyPage>;
  /**
   * @param expected the current version; undefined for any.
   * @throws tenantForbidden, notFound, keyReplaced, keyUnavailable, notServing, storeFailed.
   */
  readonly rotateData: (
    caller: Caller,
    tenant: string,
    expected: number | undefined,
  ) => Promise<LivingDataKey>;
};

const living = (entry: KeyEntry): LivingKey => ({ ...entry, state: keyState(entry) });

const requireOperator = (caller: Caller): void => {
  if (readsAcross(caller)) return;
  fail({
    kind: "tenantForbidden",
    tenant: systemTenant,
    rule: "only Root of tenant system may see to the deployment's keys",
  });
};

const tokensOf = (
  ledger: { readonly authenticate: LedgerReader["authenticate"] },
  ...walk: readonly string[]
) => new PageTokens(ledger, systemTenant, walk);

/** Places name the preceding key, so that keys removed meanwhile do not matter. */
const walkData = (keys: readonly LivingDataKey[], first: PagePlace): readonly Walked<LivingDataKey>[] =>
  keys.map((item, index) => {
    const before = keys[index - 1];
    return { kind: "match", item, at: before === undefined ? first : [before.tenant, before.version] };
  });

const listData = async (
  ledger: KeyServiceDeps["ledger"]["reader"],
  caller: Caller,
  { tenant, pageSize, pageToken }: DataKeyQuery,
): Promise<DataKeyPage> => {
  const tokens = tokensOf(ledger, caller.principal, "data keys", tenant);
  const place = await tokens.read(pageToken);
  const wanted = pageSizeOf(pageSize);
  const found = await ledger.dataKeys({
    ...(tenant === "" ? {} : { tenant }),
    // Tokens are authenticated, so the shape is certain.
    ...(place === undefined ? {} : { after: { tenant: place[0] as string, version: place[1] as number } }),
    limit: wanted + 1,
  });
  const page = await takePage(walkData(found, place ?? []), new PageRoom(wanted));
  return { dataKeys: page.items, nextPageToken: await tokens.write(page.next) };
};

export const createKeyService = ({ ledger, onChange }: KeyServiceDeps): KeyService => {
  const changed = (kind: KeyChange["kind"], { role, thumbprint }: KeyEntry, caller: Caller): void =>
    onChange({ kind, role, thumbprint: toBase64Url(thumbprint), principal: caller.principal });
  return {
    list: async (caller, query) => {
      requireOperator(caller);
      const { entries } = ledger.reader.ring;
      const all = keyRoles.flatMap((role) => entries.filter((entry) => entry.role === role));
      const placeOf = ({ role, validFrom }: KeyEntry): string => `${role} ${validFrom}`;
      const tokens = tokensOf(ledger.reader, caller.principal, "keys");
      const { items, nextPageToken } = await takeFew(all, query, tokens, { placeOf });
      return { keys: items.map(living), nextPageToken };
    },
    rotate: async (caller, role, expected) => {
      requireOperator(caller);
      const key = await ledger.rotateKey(role, expected);
      changed("rotated", key, caller);
      return living(key);
    },
    retire: async (caller, thumbprint, from) => {
      requireOperator(caller);
      const key = await ledger.retireKey(thumbprint, from);
      changed("retired", key, caller);
      return living(key);
    },
    records: async (caller) => {
      const placeOf = ({ position }: KeyRecord): string => String(position);
      const tokens = tokensOf(ledger.reader, caller.principal, "key records");
      const all = await ledger.reader.keyRecords();
      return async (query) => {
        const { items, nextPageToken } = await takeFew(all, query, tokens, { placeOf });
        return { records: items, nextPageToken };
      };
    },
    listData: async (caller, query) => {
      requireOperator(caller);
      return listData(ledger.reader, caller, query);
    },
    rotateData: async (caller, tenant, expected) => {
      requireOperator(caller);
      const key = await ledger.rotateDataKey(tenant, expected);
      onChange({ kind: "rotated", role: "data", tenant, version: key.version, principal: caller.principal });
      return key;
    },
  };
};

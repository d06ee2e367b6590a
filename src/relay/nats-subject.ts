/**
 * NATS subjects: `<prefix>.<tenant>.<space>.<kind>`, each part escaped into one token. Pure. Source: NATS ADR-6;
 * docs/spec/event.md §5.
 */
import { percentEncode, type RelayEvent } from "./event.ts";

/** Letters, digits, - and _ stay, other bytes become %XX: no separators or wildcards. Injective. */
const subjectToken = (text: string): string =>
  percentEncode(text).replaceAll(".", "%2E").replaceAll("~", "%7E");

/** Matches every message of a tenant. */
export const subjectsOf = (prefix: string, tenant: string): string => `${prefix}.${subjectToken(tenant)}.>`;

/** Tenants contain no underscore, so `_erased` collides with none. */
export const subjectOf = (prefix: string, { place }: Pick<RelayEvent, "place">): string =>
  place === undefined
    ? `${prefix}._erased`
    : [prefix, ...[place.tenant, place.space, place.kind].map(subjectToken)].join(".");

/** The grammar of record ids and tenants, and the names of levels and spaces. Pure. Source: docs/spec/record.md §2. */
import { recordIdBytesMax, tenantBytesMax } from "../limits.ts";

/** Levels of access, lowest first. */
export const levelNames = ["guest", "observer", "operator", "mentor", "root"] as const;
export type LevelName = (typeof levelNames)[number];

export const spaces = ["user", "system"] as const;
export type Space = (typeof spaces)[number];

/** The tenant of every record in the system space. */
export const systemTenant = "system";

/** The tenant of callers without credentials. */
export const publicTenant = "public";

const idCharacters = /^[A-Za-z0-9._~:/@-]+$/;
const emptyOrDotSegment = /\/\/|(?:^|\/)\.{1,2}(?:\/|$)/;
const tenantCharacters = /^[a-z0-9-]+$/;

/** What is wrong with a record id, or null. */
export const recordIdFault = (id: string): string | null => {
  if (id.length === 0 || id.length > recordIdBytesMax) return `must be 1 to ${recordIdBytesMax} bytes`;
  if (!idCharacters.test(id)) return "may hold only letters, digits and . _ ~ : / @ -";
  return emptyOrDotSegment.test(id) ? 'must have no "//" and no "." or ".." segment' : null;
};

/** What is wrong with a tenant's name, or null. */
export const tenantFault = (tenant: string): string | null => {
  if (tenant.length === 0 || tenant.length > tenantBytesMax) return `must be 1 to ${tenantBytesMax} bytes`;
  return tenantCharacters.test(tenant) ? null : "may hold only a-z, 0-9 and -";
};

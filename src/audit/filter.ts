/**
 * Filters of a decision listing: on the index, which may return false positives but no false negatives, and then on the
 * opened record.
 */
import type { DecisionFilter } from "../ledger/decisions/terms.ts";
import type { AuditedChain, ChainQuery } from "./evidence.ts";

/** The segments of a pattern before its first wildcard: a prefix of every matching target. */
const literalBeginning = (glob: string): string => {
  const segments = glob.split("/");
  const wild = segments.findIndex((segment) => segment.includes("*"));
  // Only patterns escape a literal star.
  return segments
    .slice(0, wild < 0 ? segments.length : wild)
    .join("/")
    .replaceAll("%2A", "*");
};

/** Both are prefixes of every match, so use the longer one. */
const longestBeginning = ({ targetGlob, targetPrefix }: ChainQuery): string => {
  const ofGlob = literalBeginning(targetGlob);
  return ofGlob.length > targetPrefix.length ? ofGlob : targetPrefix;
};

export const filterOf = (query: ChainQuery): DecisionFilter => {
  const { principal, action, verdict, reason, session, fromMs, untilMs } = query;
  const targetPrefix = longestBeginning(query);
  return {
    ...(principal === "" ? {} : { principal }),
    ...(action === "" ? {} : { action }),
    ...(verdict === undefined ? {} : { verdict }),
    ...(reason === "" ? {} : { reason }),
    ...(session === "" ? {} : { session }),
    ...(targetPrefix === "" ? {} : { targetPrefix }),
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
  };
};

const isOrBegins = (prefix: string, target: string): boolean =>
  target.startsWith(prefix) && (target.length === prefix.length || target[prefix.length] === "/");

export const matches = (
  query: ChainQuery,
  glob: (target: string) => boolean,
  { record, chain }: AuditedChain,
): boolean => {
  const { request } = chain;
  const { ts } = record.body;
  const { principal, action, verdict, reason, session, targetPrefix, fromMs, untilMs } = query;
  if (principal !== "" && principal !== request.subject && principal !== request.caller) return false;
  if (action !== "" && action !== request.action) return false;
  if (verdict !== undefined && verdict !== chain.verdict) return false;
  if (reason !== "" && reason !== chain.reason) return false;
  if (session !== "" && session !== request.session) return false;
  if (targetPrefix !== "" && !isOrBegins(targetPrefix, request.target)) return false;
  if (fromMs !== undefined && ts < fromMs) return false;
  if (untilMs !== undefined && ts >= untilMs) return false;
  return glob(request.target);
};

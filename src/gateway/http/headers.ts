/**
 * What is read of a request's headers, each in one way: proof, ids, times, keys. Given twice where one is meant, or
 * malformed, they are refused and never ignored. Judged as they came: of two `authorization` headers Node shows the
 * first. Source: RFC 9110; RFC 8941 §3.3.3; draft-ietf-httpapi-idempotency-key-header.
 */
import { Metadata } from "@grpc/grpc-js";
import { invalidField } from "../../errors.ts";
import { Refused } from "./problem.ts";

/** Names and values in turn, as they came. */
export type RawHeaders = readonly string[];

export const valuesOf = (raw: RawHeaders, wanted: string): readonly string[] => {
  const values: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (raw[at]?.toLowerCase() === wanted) values.push(raw[at + 1] ?? "");
  }
  return values;
};

/** Those that calls read; each means over gRPC what it means here. */
const forwarded = ["authorization", "traceparent", "x-request-id", "sigil-reply-bytes-max"] as const;

/** No token, no id and no number. */
const malformed = "malformed";
const printable = /^[!-~](?:[ -~]*[!-~])?$/;

export const metadataOf = (raw: RawHeaders): Metadata => {
  const metadata = new Metadata();
  for (const name of forwarded) {
    for (const value of valuesOf(raw, name)) metadata.add(name, printable.test(value) ? value : malformed);
  }
  return metadata;
};

const timeoutHeader = "sigil-timeout-ms";
const timeoutDigits = /^[1-9]\d{0,8}$/;

/** Milliseconds that the caller waits; undefined when it does not say. @throws invalidField. */
export const timeoutMsOf = (raw: RawHeaders): number | undefined => {
  const [given, second] = valuesOf(raw, timeoutHeader);
  if (given === undefined) return undefined;
  if (second === undefined && timeoutDigits.test(given)) return Number(given);
  return invalidField(timeoutHeader, "must be one whole number of milliseconds, 1 to 999999999");
};

const idempotencyHeader = "idempotency-key";
const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/;
const bare = /^[!#-~]+$/;

/** Quoted, as the draft writes it, or bare. How long it may be is the field's rule. @throws invalidField. */
export const idempotencyKeyOf = (raw: RawHeaders): string | undefined => {
  const [given, second] = valuesOf(raw, idempotencyHeader);
  if (given === undefined) return undefined;
  const inner = quoted.exec(given)?.[1]?.replaceAll(/\\(["\\])/g, "$1");
  const key = inner ?? (bare.test(given) ? given : "");
  if (second === undefined && key !== "") return key;
  return invalidField("Idempotency-Key", "must be one key, quoted or bare");
};

const eventIdHeader = "last-event-id";

/** @throws invalidField when this server cannot have issued the id. */
export const lastEventIdOf = (raw: RawHeaders): string | undefined => {
  const [given, second] = valuesOf(raw, eventIdHeader);
  if (given === undefined) return undefined;
  if (second === undefined && /^\d{1,20}$/.test(given)) return given;
  return invalidField("Last-Event-ID", "must be one id of an event, as it came");
};

const jsonType = /^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i;

/** A page of another origin can send everything but this without being asked. @throws Refused. */
export const requireJsonType = (raw: RawHeaders): void => {
  const [type = "", second] = valuesOf(raw, "content-type");
  if (second !== undefined || !jsonType.test(type.trim()))
    throw new Refused("NOT_JSON", "content-type must be application/json", { accept: "application/json" });
  const encodings = valuesOf(raw, "content-encoding");
  if (encodings.some((each) => each.toLowerCase() !== "identity"))
    throw new Refused("NOT_JSON", "content-encoding must be left out", { "accept-encoding": "identity" });
};

const ipv4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const ipv6 = /^\[[0-9A-Fa-f:.]{2,45}\]$/;
const hostShape = /^(\[[^\]]*\]|[^:[\]]*)(?::\d{1,5})?$/;

/**
 * Protects against DNS rebinding: a page under a foreign name that resolves to this address would be same-origin with
 * this port. Addresses and "localhost" are accepted without being listed. @param names in lower case. @throws Refused.
 */
export const requireHost = (host: string | undefined, names: readonly string[]): void => {
  const name = hostShape.exec(host ?? "")?.[1]?.toLowerCase() ?? "";
  if (name === "localhost" || ipv4.test(name) || ipv6.test(name) || names.includes(name)) return;
  throw new Refused("HOST_NOT_LISTED", "the Host is not served here: http_hosts lists the names that are");
};

/**
 * Maps a request through Envoy to a check: method, path and authenticated identity to action, target and subject.
 * Ambiguous paths are refused, never normalized. Reads no headers. Source: docs/operating/envoy.md.
 */
import type { AttributeContext } from "@sigil/proto/envoy/service/auth/v3/attribute_context";
import { canonicalSubject, type Spelling } from "@sigil/core/record";
import type { SubjectSource } from "../../config/subject-source.ts";
import { principalOfHost } from "../../identity/certificates.ts";
import type { CheckQuestion } from "../../trust/decision.ts";
import { actionOfMethod, targetOfPath } from "../message/proxied.ts";

export type EnvoyMapping = {
  readonly subject: SubjectSource;
  /** Default prefix of targets, if the route's configuration sets none. */
  readonly targetPrefix: string;
};

export type RefusalReason = "REQUEST_REFUSED" | "SUBJECT_MISSING" | "SUBJECT_REFUSED";

/** The request cannot be mapped to a check: a deny without a decision or record. */
export type Refusal = { readonly kind: "refused"; readonly reason: RefusalReason; readonly rule: string };

export type Reading = { readonly kind: "question"; readonly question: CheckQuestion } | Refusal;

const refused = (reason: RefusalReason, rule: string): Refusal => ({ kind: "refused", reason, rule });

/** Set in Envoy's configuration of a route or virtual host, not by clients. */
const prefixExtension = "sigil_target_prefix";

/** The principal for a certificate's name, mapped as for direct callers. */
const subjectOfCertificate = (principal: string, trustDomain: string): Spelling => {
  if (/^spiffe:\/\//i.test(principal)) return canonicalSubject(principal, trustDomain);
  const text = principalOfHost(principal);
  return text === undefined
    ? { kind: "refused", rule: "must be a SPIFFE id or a DNS name of the client's certificate" }
    : { kind: "canonical", text };
};

/** Prefix of names issued by others, to keep them apart from Sigil's principals. */
const issuedMark = "jwt:";

const subjectOfClaim = (claim: string, trustDomain: string): Spelling => {
  const name = `${issuedMark}${claim}`;
  const spelling = canonicalSubject(name, trustDomain);
  return spelling.kind === "canonical" && spelling.text !== name
    ? { kind: "refused", rule: "must be spelled as it is recorded" }
    : spelling;
};

/** Own properties only: decoded maps are plain objects with a prototype. */
const memberOf = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;

/** @returns "" if Envoy authenticated nobody. */
const provenName = (attributes: AttributeContext, source: SubjectSource): string => {
  if (source.kind === "principal") return attributes.source?.principal ?? "";
  const found = source.keys.reduce(
    memberOf,
    memberOf(attributes.metadataContext?.filterMetadata, source.filter),
  );
  return typeof found === "string" ? found : "";
};

/** @param trustDomain the deployment's origin. */
export const readAttributes = (
  attributes: AttributeContext,
  mapping: EnvoyMapping,
  trustDomain: string,
): Reading => {
  const http = attributes.request?.http;
  if (http === undefined) return refused("REQUEST_REFUSED", "must be an HTTP request");
  const action = actionOfMethod(http.method);
  if (action.kind === "refused") return refused("REQUEST_REFUSED", `method ${action.rule}`);
  const target = targetOfPath(
    http.path,
    attributes.contextExtensions[prefixExtension] ?? mapping.targetPrefix,
  );
  if (target.kind === "refused") return refused("REQUEST_REFUSED", `path ${target.rule}`);
  const name = provenName(attributes, mapping.subject);
  // Trust would take an empty subject for the caller, which is Envoy.
  if (name === "") return refused("SUBJECT_MISSING", "the request has no authenticated subject");
  const readSubject = mapping.subject.kind === "principal" ? subjectOfCertificate : subjectOfClaim;
  const subject = readSubject(name, trustDomain);
  if (subject.kind === "refused") return refused("SUBJECT_REFUSED", `subject ${subject.rule}`);
  return {
    kind: "question",
    question: {
      action: action.text,
      target: target.text,
      subject: subject.text,
      session: "",
      input: new Uint8Array(0),
      keepInput: false,
      // A key derived from client data (X-Request-ID) would let a client replay an old allow, so each request is a new
      // decision.
      idempotencyKey: "",
    },
  };
};

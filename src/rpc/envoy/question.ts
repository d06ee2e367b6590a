/**
 * A request through Envoy as a question: one rule from method, path and proof to action, target and subject. What a
 * server behind Envoy could read in two ways is refused, never repaired. No header is read. Source:
 * docs/operating/envoy.md.
 */
import type { AttributeContext } from "@sigil/proto/envoy/service/auth/v3/attribute_context";
import { canonicalSubject, type Spelling } from "@sigil/core/record";
import type { SubjectSource } from "../../config/subject-source.ts";
import { principalOfHost } from "../../identity/certificates.ts";
import type { CheckQuestion } from "../../trust/decision.ts";
import { actionOfMethod, targetOfPath } from "../message/proxied.ts";

export type EnvoyMapping = {
  readonly subject: SubjectSource;
  /** What targets begin with, where the route's own configuration says nothing. */
  readonly targetPrefix: string;
};

export type RefusalReason = "REQUEST_REFUSED" | "SUBJECT_MISSING" | "SUBJECT_REFUSED";

/** No question can be made of it: a deny that no model gave, and no record. */
export type Refusal = { readonly kind: "refused"; readonly reason: RefusalReason; readonly rule: string };

export type Reading = { readonly kind: "question"; readonly question: CheckQuestion } | Refusal;

const refused = (reason: RefusalReason, rule: string): Refusal => ({ kind: "refused", reason, rule });

/** Set by Envoy's configuration for a route or a virtual host, which no client can reach. */
const prefixExtension = "sigil_target_prefix";

/** The principal that a certificate's name stands for, as for callers of Sigil's own. */
const subjectOfCertificate = (principal: string, trustDomain: string): Spelling => {
  if (/^spiffe:\/\//i.test(principal)) return canonicalSubject(principal, trustDomain);
  const text = principalOfHost(principal);
  return text === undefined
    ? { kind: "refused", rule: "must be a SPIFFE id or a DNS name of the client's certificate" }
    : { kind: "canonical", text };
};

/** Names that somebody else gives out are no names of Sigil's principals. */
const issuedMark = "jwt:";

const subjectOfClaim = (claim: string, trustDomain: string): Spelling => {
  const name = `${issuedMark}${claim}`;
  const spelling = canonicalSubject(name, trustDomain);
  return spelling.kind === "canonical" && spelling.text !== name
    ? { kind: "refused", rule: "must be spelled as it is recorded" }
    : spelling;
};

/** Decoded maps are plain objects: what their prototypes have, nobody sent. */
const memberOf = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;

/** @returns "" where Envoy proved nobody. */
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
  // Trust takes an empty subject for the caller, which is Envoy.
  if (name === "") return refused("SUBJECT_MISSING", "nobody has proved who sends the request");
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
      // A key of what the client sends (X-Request-ID) would give it an allow of yesterday: each question is a decision
      // of its own.
      idempotencyKey: "",
    },
  };
};

/**
 * Converts decisions and refusals for Envoy. Status 0 allows and everything else denies, so a status is always set:
 * Envoy treats an absent one as 0. A deny is 403 with details in headers.
 */
import { status as Code } from "@grpc/grpc-js";
import {
  HeaderValueOption_HeaderAppendAction as AppendAction,
  type HeaderValueOption,
} from "@sigil/proto/envoy/config/core/v3/base";
import type { AttributeContext } from "@sigil/proto/envoy/service/auth/v3/attribute_context";
import type { CheckResponse } from "@sigil/proto/envoy/service/auth/v3/external_auth";
import { StatusCode } from "@sigil/proto/envoy/type/v3/http_status";
import type { Decision } from "../../trust/decision.ts";
import type { Refusal, RefusalReason } from "./question.ts";

const ownHeader = "x-sigil-";
const auditIdHeader = `${ownHeader}audit-id`;

/** Overwrites any client header of that name. */
const headerOf = (key: string, value: string): HeaderValueOption => ({
  header: { key, value },
  appendAction: AppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
});

/** CGI-like servers treat "_" and "-" alike. */
const isOwn = (name: string): boolean => name.toLowerCase().replaceAll("_", "-").startsWith(ownHeader);

/** Client headers reserved for Sigil, except the overwritten one: Envoy removes headers after setting them. */
const headersToRemove = (attributes: AttributeContext): string[] => {
  const { headers = {}, headerMap } = attributes.request?.http ?? {};
  const names = [...Object.keys(headers), ...(headerMap?.headers ?? []).map(({ key }) => key)];
  return [...new Set(names)].filter((name) => isOwn(name) && name !== auditIdHeader);
};

type Told = { readonly verdict: string; readonly reason: string; readonly auditId?: string };

const metadataOf = ({ verdict, reason, auditId }: Told): Record<string, string> => ({
  verdict,
  reason,
  ...(auditId === undefined ? {} : { audit_id: auditId }),
});

const deny = (code: Code, message: string, told: Told): CheckResponse => ({
  status: { code, message, details: [] },
  httpResponse: {
    $case: "deniedResponse",
    value: {
      status: { code: StatusCode.Forbidden },
      headers: [
        headerOf(`${ownHeader}verdict`, told.verdict),
        headerOf(`${ownHeader}reason`, told.reason),
        ...(told.auditId === undefined ? [] : [headerOf(auditIdHeader, told.auditId)]),
      ],
    },
  },
  dynamicMetadata: metadataOf(told),
});

const allow = (told: Told & { readonly auditId: string }, attributes: AttributeContext): CheckResponse => ({
  status: { code: Code.OK, message: "", details: [] },
  httpResponse: {
    $case: "okResponse",
    value: {
      headers: [headerOf(auditIdHeader, told.auditId)],
      headersToRemove: headersToRemove(attributes),
    },
  },
  dynamicMetadata: metadataOf(told),
});

/** Only an allow is OK; a review is a deny. */
export const answerDecision = (
  { chain, auditId }: Pick<Decision, "chain" | "auditId">,
  attributes: AttributeContext,
): CheckResponse => {
  const { verdict, reason } = chain;
  const told = { verdict, reason, auditId };
  return verdict === "allow" ? allow(told, attributes) : deny(Code.PERMISSION_DENIED, reason, told);
};

const CODES = {
  REQUEST_REFUSED: Code.INVALID_ARGUMENT,
  SUBJECT_MISSING: Code.UNAUTHENTICATED,
  SUBJECT_REFUSED: Code.UNAUTHENTICATED,
} satisfies Record<RefusalReason, Code>;

export const answerRefusal = ({ reason, rule }: Refusal): CheckResponse =>
  deny(CODES[reason], rule, { verdict: "deny", reason });

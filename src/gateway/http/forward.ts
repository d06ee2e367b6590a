/**
 * What a proxy asks about a request that it holds: its method, host and path as one check, by the rule that Envoy's
 * questions have. Source: nginx, ngx_http_auth_request_module; Traefik, ForwardAuth; Caddy, forward_auth.
 */
import { invalidField } from "../../errors.ts";
import { actionOfMethod, targetOfPath } from "../../rpc/message/proxied.ts";
import { valuesOf, type RawHeaders } from "./headers.ts";

/** Of a check. */
export type Forwarded = { readonly action: string; readonly target: string };

/** The one value that headers of these names have. @throws invalidField for none, and for two that differ. */
const valueOf = (raw: RawHeaders, ...names: readonly string[]): string => {
  const values = new Set(names.flatMap((name) => valuesOf(raw, name)));
  const [value, second] = values;
  const field = names.join(" or ");
  if (value === undefined || value === "") return invalidField(field, "must be given by the proxy");
  return second === undefined ? value : invalidField(field, "must be given once");
};

const hostShape = /^(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/;

type Spelled = ReturnType<typeof targetOfPath>;

const textOf = (field: string, spelled: Spelled): string =>
  spelled.kind === "canonical" ? spelled.text : invalidField(field, spelled.rule);

/** Action `http.get`, target `http/host/path` without the query. @throws invalidField. */
export const readForwarded = (raw: RawHeaders): Forwarded => {
  const method = valueOf(raw, "x-original-method", "x-forwarded-method");
  const host = valueOf(raw, "x-forwarded-host").toLowerCase();
  if (!hostShape.test(host)) invalidField("x-forwarded-host", "must be one name of a host");
  const uri = valueOf(raw, "x-original-uri", "x-forwarded-uri");
  return {
    action: textOf("x-original-method or x-forwarded-method", actionOfMethod(method)),
    target: textOf("x-original-uri or x-forwarded-uri", targetOfPath(uri, `http/${host}`)),
  };
};

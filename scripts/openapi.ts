/**
 * Builds one OpenAPI 3.1 document from the output of grpc-gateway's protoc-gen-openapiv3 for each proto, and from what
 * applies to all routes but is in no proto: authentication, headers, problems, streams, the guard and the proxy check.
 * Pure.
 */
import { resumes } from "../src/gateway/http/request.ts";
import type { Route } from "../src/gateway/http/routes.ts";
import { authzenPaths, authzenResponses, authzenSchemas, authzenTag } from "./openapi-authzen.ts";
import {
  header,
  parameters,
  problemContent,
  reference,
  statuses,
  streamAlone,
  text,
  type Json,
} from "./openapi-parts.ts";

type Parameter = Json & { readonly name: string; readonly in: string; readonly description?: string };

type Operation = Json & {
  readonly summary: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: Body;
  readonly responses: { readonly "200": { readonly description: string } & Body };
};

type Body = { readonly content: { readonly "application/json": { readonly schema: Schema } } };
type Schema = Json & { readonly properties?: Readonly<Record<string, Json>> };

/** The plugin's output, one file per proto. */
export type Part = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Json>> };
  readonly tags?: readonly Json[];
};

const problemSchema = (status: Json, more: Json): Json => ({
  type: "object",
  description: "RFC 9457.",
  required: ["type", "title", "status", "detail", "code", "reason", "requestId", ...Object.keys(more)],
  properties: {
    type: { ...text, pattern: "^urn:sigil:problem:", description: "The reason as a name; it is no address." },
    title: text,
    status: { type: "integer", ...status },
    detail: text,
    code: { ...text, description: "The gRPC code." },
    reason: { ...text, description: "What to compare with: stable, as in google.rpc.ErrorInfo." },
    requestId: text,
    facts: { type: "object", additionalProperties: text },
    violations: {
      type: "array",
      description: "What breaks a rule; without a field it is the body as a whole.",
      items: {
        type: "object",
        required: ["description"],
        properties: { field: text, description: text },
      },
    },
    allowed: { const: false, description: "In every problem of a check." },
  },
});

const problemResponse = (status: number, titles: readonly string[]): Json => ({
  description: `${titles.join(", or ")}.`,
  ...(status === 401 ? { headers: { "WWW-Authenticate": { schema: text } } } : {}),
  ...(status === 429 || status >= 500
    ? {
        headers: {
          "Retry-After": {
            description: "Seconds; given when a repeat is worth trying.",
            schema: { type: "integer" },
          },
        },
      }
    : {}),
  ...problemContent("Problem"),
});

const problemsOf = (isStream: boolean): Json =>
  Object.fromEntries(
    statuses
      .filter(([status]) => isStream || status !== streamAlone)
      .map(([status]) => [String(status), reference("responses", String(status))]),
  );

/** Schema of one line of a stream, or of an event's data. */
const lineSchema = (message: string): Json => ({
  oneOf: [
    { type: "object", required: ["result"], properties: { result: reference("schemas", message) } },
    { type: "object", required: ["error"], properties: { error: reference("schemas", "Problem") } },
    { type: "object", required: ["end"], properties: { end: { type: "object" } } },
  ],
});

const streamContent = (message: string): Json => ({
  "application/x-ndjson": {
    schema: { ...text, description: "A line of JSON for each message.", "x-sigil-line": lineSchema(message) },
  },
  "text/event-stream": { schema: { ...text, description: "The same lines, as the data of events." } },
});

const answered = ({ rpc }: Route, { responses }: Operation): Json => {
  const { description, content } = responses["200"];
  if (rpc.methodKind === "unary") return { description, content };
  return {
    description:
      "A line for each message and one for the end; a stream without its end or an error is broken.",
    content: streamContent(rpc.output.typeName),
  };
};

const isRest = ({ template }: Route, name: string): boolean => template.text.includes(`{${name}=**}`);

const lastOf = (field: string): string => field.slice(field.lastIndexOf(".") + 1);

/** Renames parameters, since tools interpret a dot in a path parameter as attribute access. */
const plainly = (route: Route, parameter: Parameter): Json => {
  if (parameter.in !== "path") return parameter;
  const named = { ...parameter, name: lastOf(parameter.name) };
  if (!isRest(route, parameter.name)) return named;
  const description = `${parameter.description ?? ""} It may have slashes, which stand in the path as slashes: %2F is refused.`;
  return { ...named, description: description.trim(), "x-sigil-slashes": true };
};

/** A comment's first sentence, as the summary. */
const summaryOf = (comment: string): string =>
  /^[^]*?\.(?=\s|$)/.exec(comment)?.[0].replaceAll("\n", " ") ?? comment;

/** Request bodies are parsed strictly. */
const strict = (body: Body | undefined): Json => {
  if (body === undefined) return {};
  const { schema } = body.content["application/json"];
  const closed = schema.properties === undefined ? schema : { ...schema, additionalProperties: false };
  return { requestBody: { ...body, content: { "application/json": { schema: closed } } } };
};

const takesKey = ({ method, rpc }: Route): boolean =>
  method === "POST" && rpc.input.fields.some(({ name }) => name === "idempotency_key");

const completed = (route: Route, operation: Operation): Json => {
  const isStream = route.rpc.methodKind !== "unary";
  const { summary, parameters: given = [], requestBody, responses: _, ...rest } = operation;
  return {
    ...rest,
    summary: summaryOf(summary),
    description: summary,
    parameters: [
      ...given.map((each) => plainly(route, each)),
      reference("parameters", "timeout"),
      reference("parameters", "requestId"),
      ...(takesKey(route) ? [reference("parameters", "idempotencyKey")] : []),
      ...(resumes(route) ? [reference("parameters", "lastEventId")] : []),
    ],
    ...strict(requestBody),
    responses: { "200": answered(route, operation), ...problemsOf(isStream) },
  };
};

const auditIdHeader = { "sigil-audit-id": { description: "The id of the decision's record.", schema: text } };
const guardResponses = {
  "204": { description: "Allowed, and recorded.", headers: auditIdHeader },
  "403": {
    description: "Everything else, errors among them.",
    headers: auditIdHeader,
    ...problemContent("Denial"),
  },
};

const guardOf = (check: Json): Json => ({
  ...check,
  operationId: "TrustService_Guard",
  summary: "Decides one check, answered by the status alone.",
  description: "A check, as POST /trust/check. 204 for an allow, 403 for everything else, errors among them.",
  responses: guardResponses,
});

const forward: Json = {
  tags: ["TrustService"],
  operationId: "TrustService_Forward",
  summary: "Decides the request that a proxy holds.",
  description:
    "For auth_request of nginx, ForwardAuth of Traefik and forward_auth of Caddy, from addresses in http_proxies alone. The check is of action http.METHOD on target http/HOST/PATH.",
  parameters: [
    header("X-Forwarded-Method", text, "The method of the request; or X-Original-Method."),
    header("X-Forwarded-Host", text, "Its host."),
    header("X-Forwarded-Uri", text, "Its path as it came, with or without a query; or X-Original-URI."),
    reference("parameters", "timeout"),
    reference("parameters", "requestId"),
  ],
  responses: guardResponses,
};

/** A path in the plugin's notation. */
const templateOf = ({ template }: Pick<Route, "template">): string => template.text.replaceAll("=**}", "}");

/** A path in the document's notation, and its method. */
export const placeOf = (route: Pick<Route, "method" | "template">): readonly [string, string] => [
  templateOf(route).replaceAll(/\{([^}]*)\}/g, (_, field: string) => `{${lastOf(field)}}`),
  route.method.toLowerCase(),
];

const sortedEntries = (entries: readonly (readonly [string, Json])[]): Json =>
  Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));

/** @throws Error for a route missing in all parts. */
const pathsOf = (parts: readonly Part[], routes: readonly Route[]): Json => {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const [path, method] = placeOf(route);
    const written = templateOf(route);
    const operation = parts
      .map(({ paths: each }) => each[written]?.[method])
      .find((each) => each !== undefined);
    if (operation === undefined) throw new Error(`the plugin wrote nothing of ${method} ${path}`);
    (paths[path] ??= {})[method] = completed(route, operation);
  }
  const check = paths["/trust/check"]?.["post"];
  if (check === undefined) throw new Error("checks have no route");
  return {
    ...paths,
    "/trust/guard": { post: guardOf(check) },
    "/trust/forward": { get: forward },
    ...authzenPaths,
  };
};

/** @param parts one per proto with routes. */
export const openApiOf = (parts: readonly Part[], routes: readonly Route[]): Json => ({
  openapi: "3.1.0",
  info: {
    title: "Sigil",
    version: "1.0.0",
    description:
      "May this happen? Every answer is recorded and can be proved. A denied check is an answer, 200 with allowed false; errors are problems (RFC 9457). Whoever proves nothing calls as a guest.",
    license: { name: "Apache-2.0", identifier: "Apache-2.0" },
  },
  servers: [{ url: "/" }],
  security: [{}, { bearer: [] }, { certificate: [] }],
  tags: [...parts.flatMap(({ tags = [] }) => tags), authzenTag].toSorted((a, b) =>
    String(a["name"]) < String(b["name"]) ? -1 : 1,
  ),
  paths: pathsOf(parts, routes),
  components: {
    securitySchemes: {
      bearer: { type: "http", scheme: "bearer", description: "A token that the principal signed." },
      certificate: {
        type: "mutualTLS",
        description: "A client certificate of an authority that the server trusts.",
      },
    },
    parameters,
    responses: Object.fromEntries([
      ...statuses.map(([status, titles]) => [String(status), problemResponse(status, titles)] as const),
      ...authzenResponses,
    ]),
    schemas: sortedEntries([
      ...parts.flatMap(({ components }) => Object.entries(components.schemas)),
      ["Problem", problemSchema({}, {})],
      ["Denial", problemSchema({ const: 403 }, { allowed: false })],
      ...authzenSchemas,
    ]),
  },
});

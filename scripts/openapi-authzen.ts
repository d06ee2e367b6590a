/**
 * What the OpenAPI document says of AuthZEN, whose paths stand in no contract: docs/operating/authzen.md. Of its own
 * members it closes none, because unknown ones are ignored. Pure.
 */
import { evaluationPath, evaluationsPath, wellKnownPath } from "../src/gateway/authzen/discovery.ts";
import { semantics } from "../src/gateway/authzen/evaluations.ts";
import { pathOf, unreadParts } from "../src/gateway/authzen/unread.ts";
import { batchItemsMax } from "../src/limits.ts";
import { problemContent, reference, statuses, streamAlone, text, type Json } from "./openapi-parts.ts";

const tag = "AuthZEN";

export const authzenTag: Json = {
  name: tag,
  description:
    "The Authorization API 1.0 of the OpenID Foundation: each evaluation is a check like any other.",
};

const object = (properties: Readonly<Record<string, Json>>, required: readonly string[] = []): Json => ({
  type: "object",
  ...(required.length === 0 ? {} : { required }),
  properties,
});

/** Read by no model of today: its digest alone is recorded. */
const unread: Json = { type: "object", additionalProperties: true };
const named: Json = { ...text, minLength: 1 };

const entity = (what: string): Json => ({
  description: `${what}: type and id together make one name.`,
  ...object({ type: named, id: named, properties: unread }, ["type", "id"]),
});

const questions = {
  subject: "EvaluationSubject",
  action: "EvaluationAction",
  resource: "EvaluationResource",
};

const questionMembers: Readonly<Record<string, Json>> = {
  ...Object.fromEntries(
    Object.entries(questions).map(([name, schema]) => [name, reference("schemas", schema)]),
  ),
  context: unread,
};

const unreadPath: Json = { enum: unreadParts.map(pathOf) };

export const authzenSchemas: readonly (readonly [string, Json])[] = [
  [questions.subject, entity("Whom it is about")],
  [questions.resource, entity("What it would happen to")],
  [
    questions.action,
    {
      description: "What would be done.",
      ...object({ name: named, properties: unread }, ["name"]),
    },
  ],
  ["Evaluation", object(questionMembers, Object.keys(questions))],
  [
    "Evaluations",
    object({
      ...questionMembers,
      evaluations: {
        type: "array",
        maxItems: batchItemsMax,
        description:
          "A member that an item does not have is the request's. Without any it is one evaluation, and so is the reply.",
        items: object(questionMembers),
      },
      options: object({ evaluations_semantic: { enum: semantics, default: semantics[0] } }),
    }),
  ],
  [
    "EvaluationDecision",
    object(
      {
        decision: { type: "boolean", description: "True for an allow and nothing else." },
        context: object({
          audit_id: { ...text, description: "The id of the decision's record: GET /audit/{id}." },
          verdict: { enum: ["allow", "deny", "review"] },
          reason: text,
          score: { type: "number", minimum: 0, maximum: 1 },
          authzen_digest: {
            ...text,
            pattern: "^[0-9a-f]{64}$",
            description: "SHA-256 of the canonical CBOR of what was not evaluated.",
          },
          not_evaluated: { type: "array", items: unreadPath },
          error: {
            description: "Of an item that was no question, or that its caller may not ask.",
            ...object({ status: { type: "integer" }, message: text }, ["status", "message"]),
          },
        }),
      },
      ["decision", "context"],
    ),
  ],
  [
    "EvaluationDecisions",
    object({ evaluations: { type: "array", items: reference("schemas", "EvaluationDecision") } }, [
      "evaluations",
    ]),
  ],
  [
    "AuthzenConfiguration",
    object(
      {
        policy_decision_point: { ...text, format: "uri" },
        access_evaluation_endpoint: { ...text, format: "uri" },
        access_evaluations_endpoint: { ...text, format: "uri" },
      },
      ["policy_decision_point", "access_evaluation_endpoint"],
    ),
  ],
];

const json = (schema: string): Json => ({
  "application/json": { schema: reference("schemas", schema) },
});

const echoed = { "X-Request-ID": { description: "As it came; else one of the server's.", schema: text } };

/** 415 is 400 here, and every error is a plain message. */
const refusedWith = statuses.filter(([status]) => status !== streamAlone && status !== 415);

export const authzenResponses: readonly (readonly [string, Json])[] = refusedWith.map(([status, titles]) => [
  `Plain${status}`,
  {
    description: `${titles.join(", or ")}.`,
    headers: echoed,
    content: { "text/plain": { schema: text } },
  },
]);

const refusals: Json = Object.fromEntries(
  refusedWith.map(([status]) => [String(status), reference("responses", `Plain${status}`)]),
);

type Asking = {
  readonly id: string;
  readonly summary: string;
  readonly description: string;
  readonly request: string;
  readonly reply: Json;
};

const asking = ({ id, summary, description, request, reply }: Asking): Json => ({
  post: {
    tags: [tag],
    operationId: id,
    summary,
    description: `${summary} ${description}`,
    parameters: ["timeout", "requestId", "idempotencyKey"].map((name) => reference("parameters", name)),
    requestBody: { required: true, content: json(request) },
    responses: {
      "200": {
        description: "Decided, and recorded. A denial is an answer too.",
        headers: echoed,
        content: { "application/json": { schema: reply } },
      },
      ...refusals,
    },
  },
});

export const authzenPaths: Readonly<Record<string, Json>> = {
  [evaluationPath]: asking({
    id: "Authzen_Evaluation",
    summary: "Decides one evaluation.",
    description: "TrustService.Check as AuthZEN asks it. Members that the API does not have are ignored.",
    request: "Evaluation",
    reply: reference("schemas", "EvaluationDecision"),
  }),
  [evaluationsPath]: asking({
    id: "Authzen_Evaluations",
    summary: "Decides many evaluations.",
    description:
      "execute_all is one batch; the other semantics decide, record and answer to the first deny or permit.",
    request: "Evaluations",
    reply: { oneOf: ["EvaluationDecisions", "EvaluationDecision"].map((name) => reference("schemas", name)) },
  }),
  [wellKnownPath]: {
    get: {
      tags: [tag],
      operationId: "Authzen_Configuration",
      summary: "Says where the two are.",
      description:
        "Says where the two are, by public_url of the configuration, never by Host; 404 without it.",
      parameters: [reference("parameters", "requestId")],
      responses: {
        "200": { description: "The metadata.", headers: echoed, content: json("AuthzenConfiguration") },
        ...refusals,
        "404": { description: "No public_url is configured.", ...problemContent("Problem") },
      },
    },
  },
};

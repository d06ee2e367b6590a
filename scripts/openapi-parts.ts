/** What the OpenAPI document says in more than one place. Pure. */
import { problemTitles } from "../src/gateway/http/problem.ts";

export type Json = Readonly<Record<string, unknown>>;

export const reference = (kind: string, name: string): Json => ({ $ref: `#/components/${kind}/${name}` });

export const header = (name: string, schema: Json, description: string): Json => ({
  name,
  in: "header",
  description,
  schema,
});

export const text = { type: "string" };

export const parameters = {
  timeout: header(
    "sigil-timeout-ms",
    { type: "integer", minimum: 1, maximum: 999_999_999 },
    "How long the caller waits, in milliseconds.",
  ),
  requestId: header(
    "x-request-id",
    text,
    "An id of the caller's for this request; it is logged and recorded.",
  ),
  idempotencyKey: header(
    "Idempotency-Key",
    text,
    "Quoted or bare; equal to the member idempotencyKey where there is one.",
  ),
  lastEventId: header(
    "Last-Event-ID",
    { type: "string", pattern: "^[0-9]{1,20}$" },
    "The id of the last event that came: the stream goes on after it.",
  ),
};

export const problemContent = (name: string): Json => ({
  content: { "application/problem+json": { schema: reference("schemas", name) } },
});

/** Of a documented method: 405 answers none. */
export const statuses = [...problemTitles].filter(([status]) => status !== 405);
export const streamAlone = 406;

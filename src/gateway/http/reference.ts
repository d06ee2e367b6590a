/**
 * What explains the routes: the OpenAPI document, and a page that shows it by Swagger UI and asks no other origin. Read
 * once: every answer is of the same bytes, so slow readers cost no memory.
 */
import { readFileSync } from "node:fs";
import type { Answer } from "./answer.ts";

const documentPath = "../../../generated/openapi.json";

/** Swagger UI's own icons are `data:` images; it needs nothing else that is not of this origin. */
const policy =
  "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const html = `<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  <title>Sigil over HTTP</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="/docs/swagger-ui.css">
  <main id="reference"></main>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/reference.js"></script>
</html>
`;

/**
 * No validator, which Swagger UI would request from another origin. Deep links: `/docs#/TAG/OPERATION_ID` opens that
 * operation.
 */
const script = `SwaggerUIBundle({ url: "/openapi.json", dom_id: "#reference", validatorUrl: null, docExpansion: "list", deepLinking: true });
`;

const pageOf = (type: string, text: Uint8Array): Answer => ({
  status: 200,
  headers: { "content-type": type, "content-security-policy": policy, "referrer-policy": "no-referrer" },
  text,
});

/** The page's style and script; undefined where the package, which the published server carries, is not installed. */
const readSwagger = (): readonly [Uint8Array, Uint8Array] | undefined => {
  try {
    const style = import.meta.resolve("swagger-ui-dist/swagger-ui.css");
    const bundle = import.meta.resolve("swagger-ui-dist/swagger-ui-bundle.js");
    return [readFileSync(new URL(style)), readFileSync(new URL(bundle))];
  } catch {
    return undefined;
  }
};

/** By path; each is for GET. Without Swagger UI it is the document alone. */
export const readReference = (): ReadonlyMap<string, Answer> => {
  const document = pageOf("application/json", readFileSync(new URL(documentPath, import.meta.url)));
  const pages = new Map([["/openapi.json", document]]);
  const swagger = readSwagger();
  if (swagger === undefined) return pages;
  const [style, bundle] = swagger;
  return pages
    .set("/docs", pageOf("text/html; charset=utf-8", Buffer.from(html)))
    .set("/docs/reference.js", pageOf("text/javascript; charset=utf-8", Buffer.from(script)))
    .set("/docs/swagger-ui.css", pageOf("text/css; charset=utf-8", style))
    .set("/docs/swagger-ui-bundle.js", pageOf("text/javascript; charset=utf-8", bundle));
};

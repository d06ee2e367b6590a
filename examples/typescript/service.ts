/**
 * A guarded HTTP service: notes, which Sigil decides about. Each route names what it does and to what; who does it
 * comes from the header `x-user`, which stands for what your authentication has verified.
 *
 *     SIGIL_TARGET=localhost:50051 SIGIL_ORIGIN=sigil.dev SIGIL_PRINCIPAL=operator \
 *       SIGIL_KEY=.sigil/keys/operator.pem node examples/typescript/service.ts
 */
import type { AddressInfo } from "node:net";
import express, { type Request } from "express";
import { decisionOf, guard } from "@sigil/client/express";
import { openConnection } from "./connection.ts";

const sigil = openConnection();
const notes = new Map<string, string>();

const idOf = ({ params }: Request): string => String(params["id"]);
const rule = {
  // The handler acts on the decoded id, so it is encoded again: "a/b" is one note, not a note b of a.
  target: (request: Request) => `user/notes/${encodeURIComponent(idOf(request))}`,
  subject: (request: Request) => request.get("x-user") ?? "",
  onDenied: ({ codeName, reason }: { readonly codeName: string; readonly reason: string }) =>
    console.error("denied:", codeName, reason),
};

const app = express().disable("x-powered-by");
app.get("/notes/:id", guard(sigil, { ...rule, action: "read" }), (request, response) => {
  response.json({ text: notes.get(idOf(request)) ?? null });
});
app.put("/notes/:id", guard(sigil, { ...rule, action: "write" }), express.text(), (request, response) => {
  notes.set(idOf(request), String(request.body));
  response.status(201).json({ decided: decisionOf(request)?.auditId });
});

const server = app.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
  console.log(`Listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.once("SIGTERM", () => {
  server.close(() => sigil.close());
  server.closeAllConnections();
});

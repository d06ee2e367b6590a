/**
 * OpenTelemetry's own instrumentation of grpc-js sees the client's calls: spans, and the trace in the metadata. The
 * client has no code for it. In a process of its own, since instrumentation must be there before what it instruments.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { describe, it } from "mocha";
import { decisionFor, startServer } from "../unit/client/server.ts";

const setup = `
import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";
export const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();
new GrpcInstrumentation().setTracerProvider(provider);
`;

const program = `
import { exporter } from "./tracing.ts";
import { trace } from "@opentelemetry/api";
const { connect } = await import("@sigil/client");
using sigil = connect({ target: process.argv[2] ?? "", tls: "insecure", retry: "none" });
const question = { action: "read", target: "public/docs" };
await trace.getTracer("test").startActiveSpan("request", async (span) => {
  await sigil.require(question);
  await sigil.require({ ...question, action: "fail" }).catch(() => {});
  for await (const _ of sigil.trust.streamChecks([{ correlationId: "1", check: question }]));
  span.end();
});
const spans = exporter.getFinishedSpans().map((span) => ({
  name: span.name,
  code: span.attributes["rpc.grpc.status_code"],
  parent: span.parentSpanContext?.spanId,
  id: span.spanContext().spanId,
  trace: span.spanContext().traceId,
}));
console.log(JSON.stringify(spans));
`;

type Span = {
  readonly name: string;
  /** Of gRPC. */
  readonly code?: number;
  readonly parent?: string;
  readonly id: string;
  readonly trace: string;
};

describe("OpenTelemetry's instrumentation of gRPC", () => {
  it("makes a span of each call, within the one around it, and sends the trace along", async () => {
    const traces: string[] = [];
    await using server = await startServer({
      check: ({ request, metadata }, answer) => {
        traces.push(String(metadata.get("traceparent")[0]));
        if (request.action === "fail") answer({ code: 13, details: "no" });
        else answer(null, decisionFor("read"));
      },
    });
    const directory = await mkdtemp(join(import.meta.dirname, ".tracing-"));
    try {
      await writeFile(join(directory, "tracing.ts"), setup);
      await writeFile(join(directory, "program.ts"), program);
      const child = spawn(
        process.execPath,
        [
          "--no-warnings",
          "--experimental-loader=@opentelemetry/instrumentation/hook.mjs",
          join(directory, "program.ts"),
          server.target,
        ],
        {
          stdio: ["ignore", "pipe", "pipe"],
        },
      );
      const [output, problems] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "close"),
      ]);
      expect(child.exitCode, problems).to.equal(0);
      const spans = JSON.parse(output) as readonly Span[];
      const around = spans.find(({ name }) => name === "request");
      const calls = spans.filter(({ name }) => name !== "request");
      const service = "grpc.sigil.trust.v1.TrustService";
      expect(calls.map(({ name, code }) => [name, code])).to.deep.equal([
        [`${service}/Check`, 0],
        [`${service}/Check`, 13],
        [`${service}/StreamChecks`, 0],
      ]);
      expect(calls.every(({ parent, trace }) => parent === around?.id && trace === around?.trace)).to.equal(
        true,
      );
      const sent = calls.slice(0, 2).map(({ trace, id }) => `00-${trace}-${id}-01`);
      expect(traces).to.deep.equal(sent);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

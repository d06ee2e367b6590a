/**
 * A guarded agent: whatever the model asks for, a tool runs only after an allow, which is on record. The model here is
 * a script of tool calls, read from standard input as JSON lines: `{"tool": "search", "argument": "leek soup"}`. A deny
 * is told to the model like any result, so that it can go on without the tool.
 *
 *     printf '{"tool":"search","argument":"soup"}\n{"tool":"shell","argument":"rm -rf /"}\n' |
 *       SIGIL_TARGET=localhost:50051 SIGIL_ORIGIN=sigil.dev SIGIL_PRINCIPAL=operator \
 *       SIGIL_KEY=.sigil/keys/operator.pem node examples/typescript/agent.ts
 */
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";
import { DeniedError, type Rule } from "@sigil/client";
import { openConnection } from "./connection.ts";

const sigil = openConnection();
/** All calls of one conversation are found by it: `sigil audit list --session …`. */
const session = `agent/${randomUUID()}`;

/** A tool, with the guard before it: there is no other way to run it. */
const tool = (action: string, target: string, work: (argument: string) => string) => {
  const rule: Rule<[argument: string]> = {
    action,
    target,
    session,
    input: (argument) => Buffer.from(argument),
  };
  return sigil.guard(rule, work);
};

const tools: Readonly<Record<string, (argument: string) => Promise<string>>> = {
  search: tool("tool.search", "public/docs", (query) => `3 pages about ${query}`),
  calculate: tool("tool.calculate", "public/docs", (sum) => `${sum} is 42`),
  shell: tool("tool.shell", "user/host", (command) => `ran ${command}`),
};

const runTool = async (name: string, argument: string): Promise<string> => {
  const run = Object.hasOwn(tools, name) ? tools[name] : undefined;
  if (run === undefined) return `there is no tool ${name}`;
  try {
    return await run(argument);
  } catch (error) {
    if (!(error instanceof DeniedError)) throw error;
    return error.decision === undefined
      ? "not allowed: no decision"
      : `not allowed: ${error.reason}, decision ${error.decision.auditId}`;
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  const { tool: name, argument } = JSON.parse(line) as { readonly tool: string; readonly argument: string };
  console.log(`${name}: ${await runTool(name, argument)}`);
}
sigil.close();

/** The faulty server as a child process of a suite: its table, and its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Table } from "./row.ts";

export type FaultyServer = AsyncDisposable & { readonly table: Table };

const program = fileURLToPath(new URL("main.ts", import.meta.url));

/** @throws if it ends without a table. */
export const startFaulty = async (): Promise<FaultyServer> => {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([
    once(lines, "line").then(([text]) => String(text)),
    ended.then(() => Promise.reject(new Error("the faulty server ended before it printed its table"))),
  ]);
  return {
    table: JSON.parse(line) as Table,
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      const [code]: readonly unknown[] = await ended;
      if (code !== 0) throw new Error(`the faulty server ended with ${String(code)}`);
    },
  };
};

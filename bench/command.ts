/** A command of a checkout in a process of its own: its time, its processor time and the peak of its memory (Linux). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Measured = {
  readonly exitCode: number | null;
  readonly ms: number;
  /** User and system time, as of the last look: up to a tenth of a second too little. */
  readonly cpuMs: number;
  readonly peakMib: number;
};

type Look = { readonly cpuMs: number; readonly peakKib: number };

const clockTickMs = 10;

/** Only known on Linux, and while the process lives. */
const lookAt = (pid: number | undefined): Look | undefined => {
  try {
    const [, kib] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    // After the name, which is in parentheses: fields from the third on. Source: proc(5).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    const cpuMs = (Number(fields[11]) + Number(fields[12])) * clockTickMs;
    return { cpuMs, peakKib: Number(kib ?? 0) };
  } catch {
    return undefined;
  }
};

const here = join(import.meta.dirname, "..");

/** Runs `sigil` with these words to its end. @param options.checkout whose; default this one. */
export const measureCommand = async (
  words: readonly string[],
  {
    cwd,
    server = "",
    checkout = here,
  }: { readonly cwd: string; readonly server?: string; readonly checkout?: string },
): Promise<Measured> => {
  const fromMs = performance.now();
  const child = spawn(process.execPath, [join(checkout, "src/main.ts"), ...words], {
    cwd,
    env: { ...process.env, SIGIL_CLIENT_SERVER: server },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const closed = once(child, "close");
  let [peakKib, cpuMs] = [0, 0];
  const look = (): void => {
    const found = lookAt(child.pid);
    if (found === undefined) return;
    peakKib = Math.max(peakKib, found.peakKib);
    cpuMs = Math.max(cpuMs, found.cpuMs);
  };
  const watching = setInterval(look, 100);
  await closed;
  clearInterval(watching);
  const ms = performance.now() - fromMs;
  return { exitCode: child.exitCode, ms, cpuMs, peakMib: Math.round(peakKib / 1024) };
};

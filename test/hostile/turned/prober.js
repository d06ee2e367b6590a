/**
 * Everything that JavaScript in a sandbox process could try, started with the real process's flags. Says on its greeting what
 * worked, as a permission that it holds, so that the server refuses it and names it.
 */
import { writeSync } from "node:fs";

const found = [];
const tries = {
  "reading a file": async () => (await import("node:fs")).readFileSync("/etc/passwd"),
  "listing a directory": async () => (await import("node:fs")).readdirSync("/"),
  "writing a file": async () => (await import("node:fs")).writeFileSync("/tmp/sigil-sandbox-probe", "x"),
  "a link": async () => (await import("node:fs")).symlinkSync("/etc/passwd", "/tmp/sigil-sandbox-link"),
  "a process": async () => {
    const { spawnSync } = await import("node:child_process");
    const { error } = spawnSync("/bin/true");
    if (error) throw error;
  },
  "a thread": async () => {
    const { Worker } = await import("node:worker_threads");
    new Worker("0", { eval: true });
  },
  "an add-on": async () => process.dlopen({ exports: {} }, "/lib/nothing.node"),
  "WASI of Node": async () => {
    const { WASI } = await import("node:wasi");
    new WASI({ version: "preview1" });
  },
  "an inspector": async () => (await import("node:inspector")).open(0),
  "code from text": async () => Reflect.construct(Function, ["return 1"])(),
  "the environment": async () => {
    if (Object.keys(process.env).length === 0) throw new Error("empty");
  },
};
for (const [name, attempt] of Object.entries(tries)) {
  try {
    await attempt();
    found.push(name);
  } catch (cause) {
    const { code, message } = cause;
    const isRefusal =
      /ERR_ACCESS_DENIED|ERR_DLOPEN_DISABLED|ERR_INSPECTOR/.test(code) ||
      /empty|Code generation|disallowed/.test(message);
    if (!isRefusal) found.push(`${name}: ${code} ${message}`);
  }
}
const text = Buffer.from(JSON.stringify({ holds: ["nothing that was tried but", ...found] }));
const head = Buffer.alloc(9);
head.writeUInt32BE(text.length + 5);
head[4] = 1;
head.writeUInt32BE(text.length, 5);
writeSync(3, Buffer.concat([head, text]));

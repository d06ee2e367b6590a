/**
 * A sandbox process that a module has turned: it greets like any other, and then does what the name its run has says.
 * Plain JavaScript: it is started like the real one, under the same permissions.
 */
import { readSync, writeSync } from "node:fs";

const pipe = 3;
const READY = 1;
const LOADED = 2;
const OUTPUT = 3;
const CALL = 5;
const ENDED = 6;

const frame = (kind, body, length = body.length + 1) => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length);
  head[4] = kind;
  return Buffer.concat([head, body]);
};
const message = (header) => {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([length, text]);
};
const write = (bytes) => {
  for (let at = 0; at < bytes.length;) at += writeSync(pipe, bytes, at);
};
const read = (bytes) => {
  const wanted = Buffer.alloc(bytes);
  for (let at = 0; at < bytes;) {
    const got = readSync(pipe, wanted, at, bytes - at, null);
    if (got === 0) process.exit(0);
    at += got;
  }
  return wanted;
};
const receive = () => {
  const head = read(5);
  const body = read(head.readUInt32BE(0) - 1);
  const bytes = body.readUInt32BE(0);
  const rest = body.subarray(4 + bytes).toString();
  return { kind: head[4], header: JSON.parse(body.subarray(4, 4 + bytes)), rest };
};

const good = { exit: { kind: "exited", code: 0 }, cpuUs: 0, processCpuUs: 0, memoryBytes: 0 };
/** Of this run and of the one before. */
let token;
let tokenBefore;
const end = (change) => write(frame(ENDED, message({ ...good, token, ...change })));

const tricks = {
  honest: () => end({}),
  "a frame without end": () => write(frame(OUTPUT, Buffer.alloc(10), 0xffff_fff0)),
  "an empty frame": () => write(frame(OUTPUT, Buffer.alloc(0), 0)),
  "an unknown kind": () => write(frame(99, Buffer.alloc(10))),
  "an exit that is none": () => end({ exit: { kind: "allowed", code: 0 } }),
  "a code that is none": () => end({ exit: { kind: "exited", code: -1 } }),
  "a usage that is none": () => end({ cpuUs: "0" }),
  "a header that is none": () => write(frame(ENDED, message("{"))),
  "a header of the prototype": () =>
    write(
      frame(
        ENDED,
        message(
          '{"__proto__":{"exit":{"kind":"exited","code":0},"cpuUs":0,"processCpuUs":0,"memoryBytes":0}}',
        ),
      ),
    ),
  "a second greeting": () => write(frame(READY, message({ holds: [] }))),
  "a load nobody asked for": () => write(frame(LOADED, message({ rule: null }))),
  "two ends": () => {
    end({});
    end({});
  },
  "the end of the run before": () => end({ token: tokenBefore }),
  "an end that names no run": () => end({ token: undefined }),
  "two questions at once": () => {
    const question = frame(CALL, message({ kind: "canon.read", id: "notes/1" }));
    write(Buffer.concat([question, question]));
  },
  "an end inside a question": () => {
    write(frame(CALL, message({ kind: "canon.read", id: "notes/1" })));
    end({});
  },
  "a question of another kind": () => write(frame(CALL, message({ kind: "canon.write", id: "notes/1" }))),
  "output past the limit": () => {
    for (;;) write(frame(OUTPUT, Buffer.alloc(60_000)));
  },
  "an ungranted question": () => {
    write(frame(CALL, message({ kind: "canon.read", id: "secrets/1" })));
    const { header } = receive();
    end({ exit: { kind: "exited", code: -header.code } });
  },
  silence: () => {
    for (;;) receive();
  },
  "the end of the pipe": () => {
    process.kill(process.pid, "SIGSTOP");
  },
  "its own death": () => process.abort(),
};

const burn = () => {
  for (;;);
};
/** What it does with code that it is to compile, by what the code says. */
const compiling = { burn, silence: tricks.silence, "its own death": tricks["its own death"] };

write(frame(READY, message({ holds: [] })));
for (;;) {
  const { kind, header, rest } = receive();
  if (kind === 1 || kind === 5) compiling[rest]?.();
  if (kind === 1) write(frame(LOADED, message({ rule: null })));
  if (kind !== 3) continue;
  tokenBefore = token;
  ({ token } = header);
  tricks[header.name]();
}

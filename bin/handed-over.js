/** The far side of hand-over.js: the `sigil` command under the Node it needs. */
import process from "node:process";

// The process that people see and stop is gone: a server that went on would be nobody's.
const end = () => process.kill(process.pid, "SIGTERM");
process.once("disconnect", end);
// It may have gone while this program was being loaded.
if (!process.connected) end();
// A listener alone would keep a command that is done from ending.
process.channel?.unref();
await import("./sigil.js");
